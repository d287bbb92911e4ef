"""A narrow MimiModel with random weights, as transformers saves one."""

from pathlib import Path
from typing import Any

import torch

from evalkit.environment.extras import load_transformers

NARROW = {
    "hidden_size": 32, "num_filters": 2, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "codebook_dim": 8, "vector_quantization_hidden_dimension": 8,
    "upsample_groups": 32,
}  # fmt: skip
"""Rates, strides and codebooks as released; only narrower."""


def model() -> Any:
    """The model. A fresh one has codebooks of zeros, in which every code is 0: they are filled here."""
    transformers = load_transformers()

    torch.manual_seed(0)
    model = transformers.MimiModel(transformers.MimiConfig(**NARROW)).eval()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("embed_sum"):
                buffer.normal_(std=0.01)
    return model


def write(folder: Path, rate: str) -> None:
    """`config.json` and `model.safetensors`: one model for all rates."""
    model().save_pretrained(folder)

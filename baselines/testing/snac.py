"""A narrow SNAC with random weights, in the form of the released files."""

import json
from pathlib import Path
from typing import Any

import torch

from evalkit.environment.extras import load

NARROW = {
    "sampling_rate": 24_000, "encoder_dim": 4, "encoder_rates": [2, 4, 8, 8], "decoder_dim": 32,
    "decoder_rates": [8, 8, 4, 2], "attn_window_size": None, "codebook_size": 4096, "codebook_dim": 8,
    "vq_strides": [4, 2, 1], "noise": True, "depthwise": True,
}  # fmt: skip
"""As published, but for the widths 48 and 1024."""


def model() -> Any:
    """The model."""
    package = load("snac", "models")
    torch.manual_seed(0)
    model = package.SNAC(**NARROW).eval()
    with torch.no_grad():  # random weights alone give every frame the same codes
        for parameter in model.encoder.parameters():
            parameter *= 2
    return model


def write(folder: Path, rate: str) -> None:
    """`config.json` and `pytorch_model.bin`."""
    (folder / "config.json").write_text(json.dumps(NARROW), encoding="utf-8")
    torch.save(model().state_dict(), folder / "pytorch_model.bin")

"""A narrow Xcodec2Model with random weights, as transformers saves one."""

from pathlib import Path
from typing import Any

import torch

from evalkit.environment.extras import load_transformers

from . import fill

NARROW = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 16, "encoder_hidden_size": 2, "quantization_dim": 96,
    "semantic_model_config": {
        "model_type": "wav2vec2-bert", "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64,
        "num_attention_heads": 2, "output_hidden_size": 32, "conv_depthwise_kernel_size": 5,
    },
}  # fmt: skip


def model(kind: str = "Xcodec2") -> Any:
    """The model of the class `kind` + "Model"."""
    transformers = load_transformers()

    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**NARROW)).eval()
    fill(model.acoustic_encoder)  # else what it hears is lost beside what the speech model hears
    with torch.no_grad():  # random weights alone give every frame the same code
        for layer in (*model.semantic_adapter.parameters(), model.fc_encoder.weight):
            layer *= 10
        model.acoustic_decoder.head.linear.weight *= 10
    return model


def write(folder: Path, rate: str) -> None:
    """`config.json` and `model.safetensors`."""
    model().save_pretrained(folder)

"""A narrow DacModel with random weights, as transformers saves one."""

from math import prod
from pathlib import Path
from typing import Any

import torch

from evalkit.environment.extras import load_transformers

from ..dac import MODELS

STRIDES = {"16khz": (2, 4, 5, 8), "24khz": (2, 4, 5, 8), "44khz": (2, 4, 8, 8)}


def config(name: str, **widths: int) -> Any:
    """The configuration of the released model `name`, or of a narrower one."""
    transformers = load_transformers()

    strides = STRIDES[name]
    return transformers.DacConfig(
        downsampling_ratios=strides, upsampling_ratios=strides[::-1], hop_length=prod(strides),
        sampling_rate=MODELS[name].sample_rate, n_codebooks=MODELS[name].codebooks, **widths,
    )  # fmt: skip


def model(name: str) -> Any:
    """The narrow model."""
    transformers = load_transformers()

    torch.manual_seed(0)
    return transformers.DacModel(config(name, encoder_hidden_size=4, decoder_hidden_size=32)).eval()


def write(folder: Path, rate: str) -> None:
    """`config.json` and `model.safetensors` of the model that `rate` names."""
    model(rate.split("-")[1]).save_pretrained(folder)

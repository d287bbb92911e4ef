"""A narrow Higgs tokenizer with seeded weights, as transformers saves one."""

from pathlib import Path
from typing import Any

from evalkit.environment.extras import load_transformers

from .xcodec import ACOUSTIC, SPEECH, settle

STRIDES = [8, 5, 4, 2, 3]


def config(published: bool = False) -> Any:
    """The configuration: rates, strides and codebooks as released, and, unless `published`, narrower."""
    acoustic = {"downsampling_ratios": STRIDES, "upsampling_ratios": STRIDES} | ({} if published else ACOUSTIC)
    speech = {"model_type": "hubert"} | ({} if published else SPEECH)
    return load_transformers().HiggsAudioV2TokenizerConfig(
        target_bandwidths=[0.5, 1, 1.5, 2], acoustic_model_config=acoustic, semantic_model_config=speech
    )


def model(published: bool = False) -> Any:
    """The model."""
    load_transformers()
    from ..higgs_model import Higgs

    made = Higgs(config(published)).eval()
    settle(made)
    return made


def write(folder: Path, rate: str) -> None:
    """`config.json` and `model.safetensors`."""
    model().save_pretrained(folder)

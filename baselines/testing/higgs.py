"""A narrow Higgs tokenizer with seeded weights, as transformers saves one."""

from pathlib import Path
from typing import Any

from evalkit.environment.extras import load_transformers

from ..higgs import PUBLISHED
from .xcodec import ACOUSTIC, SPEECH, settle


def config(published: bool = False) -> Any:
    """The configuration: rates, strides and codebooks as released, and, unless `published`, narrower."""
    narrower = {"acoustic_model_config": ACOUSTIC, "semantic_model_config": SPEECH}
    options = PUBLISHED if published else PUBLISHED | {key: PUBLISHED[key] | value for key, value in narrower.items()}
    return load_transformers().HiggsAudioV2TokenizerConfig(**options)


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

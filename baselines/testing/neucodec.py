"""A narrow NeuCodecModel with random weights, as transformers saves one."""

from pathlib import Path

from .xcodec2 import model


def write(folder: Path, rate: str) -> None:
    """`config.json` and `model.safetensors`."""
    model("NeuCodec").save_pretrained(folder)

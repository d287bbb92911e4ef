"""Opening models that transformers knows, from a folder, strictly and without a network."""

import json
from pathlib import Path
from typing import Any

from evalkit.environment import extras
from evalkit.errors import MissingError

from .tensors import lay_out

FILES = ("config.json", "model.safetensors")
"""What `save_pretrained` writes and these codecs need."""


def fresh(kind: str, **options: Any) -> Any:
    """A model of transformers at the released size, with random weights.

    Args:
        kind: Name of its class.
        **options: Of its configuration.

    Returns:
        The model.
    """
    transformers = extras.load_transformers()
    return getattr(transformers, kind)(getattr(transformers, kind.replace("Model", "Config"))(**options))


def load(kind: Any, model_type: str, folder: Path, device: str, spec: str) -> Any:
    """A model with the weights in `folder`, in evaluation mode and float32.

    Args:
        kind: name of its class in transformers, or a class that extends one.
        model_type: what the folder's `config.json` must say it is.
        folder: where `save_pretrained` wrote it.
        device: torch's name of the device to put it on.
        spec: what the codec is called, for messages.

    Raises:
        MissingError: transformers cannot be used, or the folder holds another model, damaged files, or tensors that
            are not exactly the model's (transformers itself would fill gaps with random numbers).
    """
    transformers = extras.load_transformers()
    try:
        found = json.loads((folder / FILES[0]).read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise MissingError(f"{spec}: {folder / FILES[0]} cannot be read ({error})") from error
    if found != model_type:
        raise MissingError(f"{spec}: {folder} holds a model of type {found!r}, not {model_type!r}")
    made = getattr(transformers, kind) if isinstance(kind, str) else kind
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        config = made.config_class.from_pretrained(folder, local_files_only=True)
        lay_out(lambda: made(config), folder / FILES[1])  # gaps are filled with random numbers, however many there are
        model, report = made.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype="float32"
        )
    except Exception as error:  # safetensors, json and torch each raise their own
        raise MissingError(f"{spec}: the weights in {folder} cannot be opened ({error})") from error
    finally:
        if shown:
            bars.enable_progress_bar()
    if wrong := {what: sorted(map(str, names)) for what, names in report.items() if names}:
        shown_wrong = "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in wrong.items())
        raise MissingError(f"{spec}: the tensors in {folder} are not those of a {made.__name__}: {shown_wrong}")
    return model.to(device).eval()

"""Opening models that transformers knows, from a folder, strictly and without a network."""

import json
from pathlib import Path
from typing import Any

from evalkit.environment import extras
from evalkit.errors import MissingError

FILES = ("config.json", "model.safetensors")
"""What `save_pretrained` writes and these codecs need."""


def load(kind: str, model_type: str, folder: Path, device: str, spec: str) -> Any:
    """The model class `kind` of transformers with the weights in `folder`, in evaluation mode and float32.

    Raises MissingError where transformers cannot be used, and where the folder holds another model, damaged files,
    or tensors that are not exactly the model's (transformers itself would fill gaps with random numbers).
    """
    transformers = extras.load_transformers()
    try:
        found = json.loads((folder / FILES[0]).read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise MissingError(f"{spec}: {folder / FILES[0]} cannot be read ({error})") from error
    if found != model_type:
        raise MissingError(f"{spec}: {folder} holds a model of type {found!r}, not {model_type!r}")
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        model, report = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype="float32"
        )
    except Exception as error:  # safetensors, json and torch each raise their own
        raise MissingError(f"{spec}: the weights in {folder} cannot be opened ({error})") from error
    finally:
        if shown:
            bars.enable_progress_bar()
    if wrong := {what: sorted(map(str, names)) for what, names in report.items() if names}:
        shown_wrong = "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in wrong.items())
        raise MissingError(f"{spec}: the tensors in {folder} are not those of a {kind}: {shown_wrong}")
    return model.to(device).eval()

"""Weights on disk: one safetensors file, whose metadata holds the codec's configuration.

Names, shapes and types are strict in both directions: a file either holds exactly the model or is refused with the
tensors in question named. Safetensors cannot carry code, so opening a stranger's file is safe.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nanocodec.config import VARIANTS, CodecConfig
from nanocodec.layers import has_weight_norm
from nanocodec.model import NanoCodec

FORMAT = "nanocodec-1"


class CheckpointError(Exception):
    """Weights that are missing or do not fit; the message names the file and what to do."""


def resolve(source: str | Path) -> Path:
    """The file that `source` means: a path, or the name of weights that ship with the package.

    Raises:
        CheckpointError: nothing there; for a variant without weights the message says what exists.
    """
    name = str(source)
    builtin = Path(str(resources.files("nanocodec").joinpath("weights", f"{name}.safetensors")))
    if builtin.is_file() and not Path(name).exists():
        return builtin
    path = Path(source)
    if path.is_file():
        return path
    if name in VARIANTS:
        raise CheckpointError(
            f"no weights for variant {name!r} come with the package; built in: {', '.join(builtin_names()) or 'none'}"
        )
    raise CheckpointError(
        f"{path}: no such file, nor the name of built-in weights ({', '.join(builtin_names()) or 'none'})"
    )


def builtin_names() -> list[str]:
    """Names of the weights that ship with the package."""
    folder = Path(str(resources.files("nanocodec").joinpath("weights")))
    return sorted(path.stem for path in folder.glob("*.safetensors")) if folder.is_dir() else []


def save(model: NanoCodec, path: str | Path, *, half: bool = False) -> None:
    """Write a model's weights and configuration; `half` stores fp16, which `load` widens to fp32 again."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        tensors[name] = tensor.half() if half and tensor.is_floating_point() else tensor
    metadata = {"format": FORMAT, "config": json.dumps(model.config.to_dict())}
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    save_file(tensors, temporary, metadata=metadata)
    temporary.replace(path)


def load(path: str | Path) -> NanoCodec:
    """Read a model written by `save`: folded, in eval mode, fp32 on the CPU.

    Raises:
        CheckpointError: not such a file, or one whose tensors differ from what its configuration calls for.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("format") != FORMAT or "config" not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but without a nanocodec configuration in its metadata")
    try:
        model = NanoCodec(CodecConfig.from_dict(json.loads(metadata["config"])))
    except ValueError as error:
        raise CheckpointError(f"{path}: its configuration cannot be used: {error}") from error
    if not any(".parametrizations." in name for name in tensors):
        model.fold()
    load_strictly(model, tensors, path)
    return model.fold().eval()


def load_strictly(model: NanoCodec, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Copy tensors into a model after checking that names, shapes and types agree in full.

    Raises:
        CheckpointError: naming the first missing, unexpected or wrong-shaped tensors.
    """
    wanted = model.state_dict()
    problems = []
    for label, names in (("missing", wanted.keys() - tensors), ("unexpected", tensors.keys() - wanted)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{label}: {', '.join(sorted(names)[:3])}{more}")
    for name in sorted(wanted.keys() & tensors.keys()):
        have, want = tensors[name], wanted[name]
        if have.shape != want.shape:
            problems.append(f"{name} has shape {list(have.shape)} instead of {list(want.shape)}")
        elif have.is_floating_point() != want.is_floating_point():
            problems.append(f"{name} is {have.dtype} instead of {want.dtype}")
        elif not want.is_floating_point() and not torch.equal(have, want):
            problems.append(f"{name} contradicts the configuration's FSQ levels")
    if problems:
        raise CheckpointError(f"{path}: does not fit {model.config.name}: " + "; ".join(problems[:5]))
    model.load_state_dict(tensors)


__all__ = ["CheckpointError", "builtin_names", "has_weight_norm", "load", "load_strictly", "resolve", "save"]

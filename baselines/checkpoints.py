"""Files of tensors: opened without running what is in them, and with weight normalisation undone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import MissingError

if TYPE_CHECKING:
    from torch import Tensor

NORMS = {
    "weight_v": "weight_g",
    "parametrizations.weight.original1": "parametrizations.weight.original0",
}
"""Of a weight that is normalised, torch's older and newer name of its direction, and that of its length."""


def read(path: Path, spec: str) -> Any:
    """What is in a safetensors file, or in a pickle of torch that holds tensors and plain containers alone.

    Args:
        path: The file.
        spec: What the codec is called, for messages.

    Returns:
        Tensors by name.

    Raises:
        MissingError: The file is damaged, or holds anything else.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, safetensors and torch each raise their own
        raise MissingError(f"{spec}: {path} cannot be opened as a checkpoint of tensors ({error})") from error


def fold(state: Mapping[str, "Tensor"]) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors of `state` in float32, each normalised weight as one tensor.

    Raises:
        KeyError: a direction comes without its length.
    """
    import torch

    for name, tensor in state.items():
        if name.endswith(tuple(f".{length}" for length in NORMS.values())):
            continue  # comes with its direction
        for direction, length in NORMS.items():
            if name.endswith(f".{direction}"):
                stem = name.removesuffix(direction)
                yield f"{stem}weight", torch._weight_norm(tensor.float(), state[f"{stem}{length}"].float(), 0)
                break
        else:
            yield name, tensor.float()

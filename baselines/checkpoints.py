"""Files of tensors, opened without running what is in them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import MissingError

if TYPE_CHECKING:
    from torch import Tensor


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


def assemble(
    kind: type[Any],
    shape: Callable[[Mapping[str, "Tensor"]], Any],
    tensors: Iterable[tuple[str, "Tensor"]],
    path: Path,
    spec: str,
) -> Any:
    """The network whose sizes follow from its tensors, with these as its weights.

    Args:
        kind: The network's class.
        shape: Reads from the tensors what `kind` is built from.
        tensors: With their names in the network.
        path: The file that they are from, for messages.
        spec: What the codec is called, for messages.

    Returns:
        The network.

    Raises:
        MissingError: They are not exactly the tensors of such a network.
    """
    import torch

    try:
        found = dict(tensors)
        with torch.device("meta"):
            network = kind(shape(found))
        network.load_state_dict(found, strict=True, assign=True)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise MissingError(f"{spec}: the tensors in {path} are not those of a {kind.__name__} ({error})") from error
    return network

"""Opening a stranger's weights: nothing in them is run, and they take no more memory than their files have bytes.

A kilobyte can announce gigabytes: a zip that is compressed, a tensor that repeats one number, a configuration of
enormous layers. Sizes are compared with the file's before anything is made of them.

The way of a network of this project's own: `configured` (where the release has a configuration), `read`, `assemble`.
"""

import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from evalkit.environment.contained import deadline
from evalkit.errors import DeadlineError, MissingError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

ROOM = 2
"""Bytes in memory for each byte of a file: tensors of 16 bits are widened, and some have two names."""
SLACK = 2**22
"""Bytes that any model may need beside."""
PATIENCE = 60.0
"""Seconds to lay out a model: a configuration may ask for a billion layers."""


def configured(config: Path, shape: Callable[[Any], T], spec: str, what: str = "model") -> T:
    """What a configuration describes.

    Args:
        config: A JSON file.
        shape: Makes it of the file's content.
        spec: What the codec is called, for messages.
        what: What is expected, for messages.

    Returns:
        What `shape` returns.

    Raises:
        MissingError: The file is damaged, or `shape` refuses what is in it.
    """
    try:
        return shape(json.loads(config.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RecursionError) as error:
        raise MissingError(f"{spec}: {config} describes no {what} that can run here ({error!r})") from error


def read(path: Path, spec: str) -> Any:
    """What a safetensors file holds, or a checkpoint of torch, of which only tensors and plain containers are read.

    Args:
        path: The file.
        spec: What the codec is called, for messages.

    Returns:
        Tensors by name, or what else the checkpoint is.

    Raises:
        MissingError: The file is damaged, holds anything else, or tensors of more bytes than it has.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    _require_room(sum(info.file_size for info in archive.infolist()), path)
            found = torch.load(path, map_location="cpu", weights_only=True)
        _require_room(sum(map(_bytes, _tensors(found))), path)
    except Exception as error:  # zip, pickle, safetensors and torch each raise their own
        raise MissingError(f"{spec}: {path} cannot be opened as a checkpoint of tensors ({error})") from error
    return found


def assemble(
    kind: "type[nn.Module]",
    shape: Callable[[Mapping[str, "Tensor"]], Any],
    tensors: Iterable[tuple[str, "Tensor"]],
    files: Sequence[Path],
    spec: str,
) -> Any:
    """A network with exactly these tensors as its weights.

    Args:
        kind: The network's class.
        shape: Gives what `kind` is built from: read from the tensors, or known from a configuration.
        tensors: With their names in the network.
        files: That they are from.
        spec: What the codec is called, for messages.

    Returns:
        The network.

    Raises:
        MissingError: They are not the tensors of such a network.
    """
    try:
        found = dict(tensors)
        network = lay_out(lambda: kind(shape(found)), *files)
        network.load_state_dict(found, strict=True, assign=True)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        where = files[0] if len(files) == 1 else files[0].parent
        raise MissingError(f"{spec}: the tensors in {where} are not those of a {kind.__name__} ({error})") from error
    return network


def lay_out(make: Callable[[], "nn.Module"], *files: Path) -> "nn.Module":
    """A stranger's model on torch's meta device.

    Args:
        make: Makes it.
        *files: Where its tensors are to come from.

    Returns:
        The model.

    Raises:
        ValueError: It takes too long, or its tensors would have more bytes than `files`.
    """
    try:
        with deadline(PATIENCE):
            model = on_meta(make)
    except DeadlineError as error:
        raise ValueError(f"the configuration describes a model that {error}") from error
    _require_room(sum(map(_bytes, model.state_dict().values())), *files)
    return model


def on_meta(make: Callable[[], "nn.Module"]) -> "nn.Module":
    """A model on torch's meta device: names and shapes, and no memory.

    Args:
        make: Makes it.

    Returns:
        The model.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        """Leaves out initial numbers, for which torch would import its compiler: several seconds."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__module__", "") == "torch.nn.init":
                return kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    with torch.device("meta"), Undrawn():
        return make()


def _require_room(needed: int, *files: Path) -> None:
    there = sum(path.stat().st_size for path in files)
    if needed > ROOM * there + SLACK:
        raise ValueError(f"the files have {there:,} bytes, too few for tensors of {needed:,} bytes")


def _bytes(tensor: "Tensor") -> int:
    return tensor.numel() * tensor.element_size()


def _tensors(found: Any) -> Iterable["Tensor"]:
    """Every tensor in nested containers; raises ValueError for one without numbers of its own."""
    import torch

    seen: set[int] = set()
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, torch.Tensor):
            if one.is_meta or one.layout != torch.strided:
                raise ValueError("it contains a tensor without data")
            yield one
        elif isinstance(one, dict | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, dict) else one

"""Opening a stranger's weights: nothing in them is run, and they take no more memory than their files have bytes.

A kilobyte can announce gigabytes: a zip that is compressed, a tensor that repeats one number, a configuration of
enormous layers. Sizes are compared with the file's before anything is made of them.
"""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.environment.deadline import deadline
from evalkit.errors import DeadlineError

if TYPE_CHECKING:
    from torch import Tensor, nn

ROOM = 2
"""Bytes in memory for each byte of a file: tensors of 16 bits are widened, and some have two names."""
SLACK = 2**22
"""Bytes that any model may need beside."""
PATIENCE = 60.0
"""Seconds to lay out a model: a configuration may ask for a billion layers."""


def read(path: Path) -> Any:
    """What the safetensors file or the checkpoint of torch `path` holds; of the latter, tensors and plain containers.

    Raises:
        Exception: the file is damaged, holds anything else, or tensors of more bytes than the file has; zip, pickle,
            safetensors and torch each raise their own.
    """
    import torch

    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        found: Any = load_file(path)
    else:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _require_room(sum(info.file_size for info in archive.infolist()), path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    _require_room(sum(map(_bytes, _tensors(found))), path)
    return found


def lay_out(make: Callable[[], "nn.Module"], *files: Path) -> "nn.Module":
    """A model on torch's meta device: names and shapes, and no memory.

    Args:
        make: Makes it.
        *files: Where its tensors are to come from.

    Returns:
        The model.

    Raises:
        ValueError: It takes too long, or its tensors would have more bytes than `files`.
    """
    import torch

    try:
        with deadline(PATIENCE), torch.device("meta"):
            model = make()
    except DeadlineError as error:
        raise ValueError(f"the configuration describes a model that {error}") from error
    _require_room(sum(map(_bytes, model.state_dict().values())), *files)
    return model


def _require_room(needed: int, *files: Path) -> None:
    there = sum(path.stat().st_size for path in files)
    if needed > ROOM * there + SLACK:
        raise ValueError(f"tensors of {needed:,} bytes are announced in {there:,}")


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
                raise ValueError("it holds a tensor without numbers of its own")
            yield one
        elif isinstance(one, dict | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, dict) else one

"""Reading state dicts: from a file, under other names, into a module."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from evalkit.errors import MissingError

State = dict[str, Tensor]
M = TypeVar("M", bound=nn.Module)


class Group(nn.Module):
    """Modules under the names that somebody else's state dict has for them."""

    def __init__(self, **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def read_state(path: Path, *inside: str) -> State:
    """Read the state dict in a file.

    Args:
        path: What `torch.save` wrote. Nothing but tensors and plain containers is read from it.
        inside: Keys under which the state dict lies.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        MissingError: It is no such file.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        for key in inside:
            found = found[key]
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}
    except Exception as error:  # a damaged file raises whatever its pickle or its zip archive happens to raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise MissingError(f"{path} cannot be read as weights: {reason}. Delete it and fetch it again") from error


def renamed(state: Mapping[str, Tensor], rules: Iterable[tuple[str, str]]) -> State:
    """`state` under other names: every rule (pattern, replacement) is applied in turn, as in `re.sub`."""
    found: State = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def below(state: Mapping[str, Tensor], prefix: str) -> State:
    """The part of `state` whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers N `pattern`, with `(\\d+)` for N, finds at the start of names: layers, or blocks."""
    return len({found[1] for name in state if (found := re.match(pattern, name))})


def filled(module: M, state: Mapping[str, Tensor], what: str) -> M:
    """Load `state` into `module`, for inference.

    Raises:
        MissingError: Names or shapes are not those of `what`.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise MissingError(f"these weights are not those of {what}: {' '.join(lines[1:3]).strip()[:300]}") from error
    return module.eval()

"""The compiled half of a causal decoder on a processor: what lies between its convolutions, in one pass over memory.

`_kernels.c` is compiled when the package is installed. Where that failed, for want of a compiler, `compiled` says so
and nanocodec/causal.py does the same with torch's operations, one after another.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

_POINTER, _INT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
CPU = torch.device("cpu")  # said wherever memory is made, for torch's defaults are its user's
LAST = torch.channels_last  # which torch knows in two dimensions only; the first of them is 1 here
TABLE = 1024  # numbers at least in a table, so that few channels, too, are computed in long rows


@cache
def _library() -> ctypes.CDLL | None:
    spec = find_spec("nanocodec._kernels")  # no module to import: found as one, for its name is the platform's
    if spec is None or spec.origin is None:
        return None
    try:
        library = ctypes.CDLL(spec.origin)
    except OSError:  # made for another machine
        return None
    library.nanocodec_advance.argtypes = [_POINTER, _INT, _POINTER, _INT, *[_POINTER] * 3, _INT, _POINTER, *[_SIZE] * 5]
    library.nanocodec_upsample.argtypes = [*[_POINTER] * 4, *[_SIZE] * 4]
    library.nanocodec_advance.restype = library.nanocodec_upsample.restype = None
    return library


def compiled(device: torch.device) -> bool:
    """Whether there are kernels for tensors on `device`."""
    return device.type == "cpu" and _library() is not None


def tables(channels: int, alpha: Tensor | None, slope: float) -> Tensor:
    """The activation of each channel as `advance` wants it: half-snake with `alpha` [C // 2], or none. Float [3, n]."""
    parts = torch.zeros(3, channels, dtype=torch.float32, device=CPU)
    parts[0] = 1
    if alpha is not None:
        half = len(alpha)
        parts[0, half:] = slope
        parts[1, :half], parts[2, :half] = alpha, (alpha + 1e-9).reciprocal()
    return parts.repeat(1, -(-TABLE // channels))


def advance(x: Tensor, change: Tensor | None, past: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The activation of x + change behind `past`, which becomes the end of it; and x + change, fp32, itself.

    Args:
        x: [B, C, 1, T], fp32 or bf16, and `change`, if any, of the same shape.
        past: [B, C, 1, K], channels last; overwritten.
        table: what `tables` made.

    Returns:
        [B, C, 1, K + T] of the type of `past`, and [B, C, 1, T]; both channels last.
    """
    batch, channels, _, length = x.shape
    keep = past.shape[3]
    x = x.contiguous(memory_format=LAST)
    change = None if change is None else change.contiguous(memory_format=LAST)
    out = torch.empty((batch, channels, 1, keep + length), dtype=past.dtype, device=CPU, memory_format=LAST)
    total = x if change is None else torch.empty(x.shape, dtype=torch.float32, device=CPU, memory_format=LAST)
    half = torch.bfloat16
    _call("nanocodec_advance", x.data_ptr(), x.dtype == half, None if change is None else change.data_ptr(),
          change is not None and change.dtype == half, total.data_ptr(), past.data_ptr(), out.data_ptr(),
          out.dtype == half, table.data_ptr(), table.shape[1], batch, keep, length, channels)  # fmt: skip
    return out, total


def upsample(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The transposed convolution of a causal decoder over all frames but the first, which is the one before.

    Args:
        x: float [B, 2 * C, 1, 1 + T], channels last.
        weight: float [2, 2, rate, C]: frame (this, the one before), input of the pair, sample, output.
        bias: float [C].

    Returns:
        float [B, C, 1, T * rate], channels last.
    """
    rate, channels = weight.shape[2:]
    batch, frames = x.shape[0], x.shape[3] - 1
    out = torch.empty((batch, channels, 1, frames * rate), dtype=torch.float32, device=CPU, memory_format=LAST)
    _call("nanocodec_upsample", x.data_ptr(), weight.data_ptr(), bias.data_ptr(), out.data_ptr(),
          batch, frames, rate, channels)  # fmt: skip
    return out


def _call(name: str, *arguments: object) -> None:
    getattr(_library(), name)(*arguments)

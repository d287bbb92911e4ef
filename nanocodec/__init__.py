"""NanoCodec, a low-frame-rate neural speech codec: read it, load it, train it.

>>> from nanocodec import NanoCodec
>>> codec = NanoCodec.builtin()
>>> codes, frames = codec.encode(audio)    # float [B, T] at codec.sample_rate
>>> decoded = codec.decode(codes)          # [B, N * codec.hop]

Names below load on first use, so that `import nanocodec` and the variants' data cost no import of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nanocodec.config import VARIANTS, CodecConfig, UnknownVariantError, get_config

if TYPE_CHECKING:
    from nanocodec.checkpoint import CheckpointError
    from nanocodec.model import NanoCodec

_LAZY = {"NanoCodec": "nanocodec.model", "CheckpointError": "nanocodec.checkpoint"}

__all__ = ["VARIANTS", "CheckpointError", "CodecConfig", "NanoCodec", "UnknownVariantError", "get_config"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

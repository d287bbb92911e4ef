"""Weights made from a seed, narrow, in the exact files of each release: for whoever has no checkpoint and wants the
real loading code. A module a family; each has `write(folder, rate)`.
"""

from importlib import import_module
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor


def write(family: str, rate: str, folder: Path) -> Path:
    """The files of the release of `family` at `rate`, in `folder`, with narrow seeded weights; `folder` again."""
    folder.mkdir(parents=True, exist_ok=True)
    import_module(f"{__name__}.{family}").write(folder, rate)
    return folder


def seeded(name: str, size: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers that depend on nothing but the arguments."""
    generator = np.random.default_rng([seed, crc32(name.encode())])
    return torch.from_numpy(generator.standard_normal(size).astype(np.float32))

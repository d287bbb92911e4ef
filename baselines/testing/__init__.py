"""Weights made from a seed, narrow, in the exact files of each release: for whoever has no checkpoint and wants the
real loading code. A module a family; each has `write(folder, rate)`.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

MODULES = {"qwen3-tts-12hz": "qwen3_tts"}
"""Of families whose name is no name of a module."""


def write(family: str, rate: str, folder: Path) -> Path:
    """The files of the release of `family` at `rate`, in `folder`, with narrow seeded weights; `folder` again."""
    folder.mkdir(parents=True, exist_ok=True)
    import_module(f"{__name__}.{MODULES.get(family, family)}").write(folder, rate)
    return folder


@torch.no_grad()
def fill(model: nn.Module | Mapping[str, Tensor], gain: float = 1.0) -> None:
    """Give every tensor of `model` numbers that depend on its name and shape alone, so that every part counts:
    matrices of `gain` over the square root of their inputs, biases of 0.1, norms and scales about 1, codebooks of 1."""
    for name, tensor in (model.state_dict() if isinstance(model, nn.Module) else model).items():
        if not tensor.is_floating_point() or name.endswith(("cluster_size", "inited")):
            continue
        numbers = seeded(name, tuple(tensor.shape), 0)
        if name.endswith(("embed", "embed_avg", "embed_sum", "codebook.weight")):
            pass
        elif name.endswith(("alpha", "beta", "original0", "weight_g")):
            numbers = (0.3 * numbers).exp()
        elif tensor.dim() > 1:
            numbers *= gain / tensor[0].numel() ** 0.5
        elif name.endswith("bias"):
            numbers *= 0.1
        else:
            numbers = 1 + 0.2 * numbers
        tensor.copy_(numbers)


def normed(name: str, weight: Tensor, newer: bool = False) -> dict[str, Tensor]:
    """A weight of a layer that is weight-normalised, as torch keeps it: direction and length, under its older names or
    its newer ones. The length is not that of the direction."""
    direction, length = ("parametrizations.weight.original1", "parametrizations.weight.original0")
    if not newer:
        direction, length = "weight_v", "weight_g"
    stem = name.removesuffix("weight")
    size = weight.flatten(1).norm(dim=1).view(-1, *(1,) * (weight.dim() - 1))
    longer = 1 + 0.1 * seeded(f"{name} length", tuple(size.shape), 0)
    return {f"{stem}{direction}": weight, f"{stem}{length}": size * longer}


def seeded(name: str, size: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers that depend on nothing but the arguments."""
    generator = np.random.default_rng([seed, crc32(name.encode())])
    return torch.from_numpy(generator.standard_normal(size).astype(np.float32))

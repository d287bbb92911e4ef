"""What Muon's orthogonalization costs: the iteration on the small Gram matrices against that on the whole matrices.

Both run in turn on matrices of the built-in model's shapes; CPU seconds per optimizer step, the least of the rounds.

    python benchmarks/muon.py
"""

from __future__ import annotations

import time
from collections import Counter

import torch
from torch import Tensor, nn

from nanocodec.config import get_config
from nanocodec.model import NanoCodec
from nanocodec.training.optim import orthogonalize


def whole(matrices: Tensor, steps: int = 5) -> Tensor:
    """The iteration as it is published."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def main() -> None:
    torch.set_num_threads(1)
    convolutions = [m for m in NanoCodec(get_config("mini-1.1k")).fold().modules() if isinstance(m, nn.Conv1d)]
    shapes = Counter((len(m.weight), m.weight[0].numel()) for m in convolutions if min(m.weight.shape[:2]) > 1)
    stacks = [torch.randn(count, *sorted(shape)) for shape, count in shapes.items()]  # tall ones are transposed
    seconds: dict[str, list[float]] = {"whole matrices": [], "Gram matrices": []}
    for _ in range(10):
        for times, function in zip(seconds.values(), (whole, orthogonalize), strict=True):
            start = time.process_time()
            for stack in stacks:
                function(stack)
            times.append(time.process_time() - start)
    for name, times in seconds.items():
        print(f"{name:15} {1e3 * min(times):6.1f} ms")
    print(f"ratio           {min(seconds['whole matrices']) / min(seconds['Gram matrices']):6.2f}")


if __name__ == "__main__":
    main()

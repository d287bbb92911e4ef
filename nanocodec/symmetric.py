"""The layers of the encoder for inference: they take a recording whole or piece by piece.

Each leaky ReLU is written straight into the padded input of the convolution after it, behind the inputs of before that
are still needed. The numbers are those of `nanocodec.layers`, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nanocodec.layers import LEAKY_SLOPE, pad_at_ends
from nanocodec.threads import SecondThread, mean, side_by_side


class SymmetricConv:
    """A convolution that reads to both sides: gives each output as soon as its inputs are there.

    Args:
        module: a `nanocodec.layers.Conv` that is not causal.
        activated: whether a leaky ReLU comes before it.
    """

    def __init__(self, module: Any, activated: bool = True) -> None:
        self.conv, self.pad, self.mode, self.activated = module.conv, module.left, module.pad_mode, activated
        self.span = (module.conv.kernel_size[0] - 1) * module.conv.dilation[0] + 1
        self.stride = module.conv.stride[0]
        self.waiting: Tensor | None = None  # activated inputs that outputs to come will read
        self.started = False

    def __call__(self, x: Tensor, last: bool) -> Tensor:
        """The outputs [B, O, m], m >= 0, that the next inputs [B, I, n], n >= 0, decide; all that remain if `last`."""
        count = x.shape[2] + (0 if self.waiting is None else self.waiting.shape[2])
        left = right = 0
        if last or self.started or count > (self.pad if self.mode == "reflect" else 0):
            left, right = 0 if self.started else self.pad, self.pad if last else 0
            self.started = True
        x = self._extended(x, left, right)
        outputs = max(0, (x.shape[2] - self.span) // self.stride + 1) if self.started else 0
        self.waiting = None if last else x[:, :, outputs * self.stride :]
        return self.conv(x) if outputs else x.new_empty(x.shape[0], self.conv.out_channels, 0)

    def _extended(self, x: Tensor, left: int, right: int) -> Tensor:
        """What is waiting and the activation of x, padded by `left` and `right` columns."""
        kept = 0 if self.waiting is None else self.waiting.shape[2]
        if self.mode != "replicate":
            x = F.leaky_relu(x, LEAKY_SLOPE) if self.activated else x
            return pad_at_ends(x if self.waiting is None else torch.cat([self.waiting, x], 2), left, right, self.mode)
        start, end = left + kept, left + kept + x.shape[2]
        out = x.new_empty(x.shape[0], x.shape[1], end + right)
        if self.waiting is not None:
            out[:, :, left:start] = self.waiting
        if self.activated:
            torch._C._nn.leaky_relu(x, LEAKY_SLOPE, out=out[:, :, start:end])
        else:
            out[:, :, start:end] = x
        out[:, :, :left] = out[:, :, left : left + 1]
        out[:, :, end:] = out[:, :, end - 1 : end]
        return out


class Delay:
    """Holds columns until they are asked for."""

    def __init__(self) -> None:
        self.waiting: Tensor | None = None

    def put(self, x: Tensor) -> int:
        """Take in the next columns [B, C, n]; how many are held now."""
        self.waiting = x if self.waiting is None else torch.cat([self.waiting, x], dim=2)
        return self.waiting.shape[2]

    def take(self, count: int) -> Tensor:
        """Give the first `count` of what is held."""
        assert self.waiting is not None
        taken, rest = self.waiting[:, :, :count], self.waiting[:, :, count:]
        self.waiting = rest if rest.shape[2] else None  # an empty view would keep the memory
        return taken


class SymmetricBranch:
    """The residual blocks of one kernel size, one after another.

    Args:
        branch: a `nanocodec.layers.ResBlock` that is not causal.
    """

    def __init__(self, branch: Any) -> None:
        self.blocks = [
            (SymmetricConv(block.input_conv), SymmetricConv(block.skip_conv), Delay()) for block in branch.res_blocks
        ]

    def __call__(self, x: Tensor, last: bool) -> Tensor:
        for first, second, delay in self.blocks:
            delay.put(x)
            change = second(first(x, last), last)
            x = change.add_(delay.take(change.shape[2]))
        return x


class SymmetricLayer:
    """A residual layer: the mean of its branches, as far as all of them have come.

    Args:
        layer: a `nanocodec.layers.ResLayer` that is not causal.
    """

    def __init__(self, layer: Any) -> None:
        self.branches = [SymmetricBranch(branch) for branch in layer.res_blocks]
        self.outputs = [Delay() for _ in self.branches]

    def __call__(self, x: Tensor, last: bool, second_thread: SecondThread) -> Tensor:
        made = side_by_side(self.branches, second_thread, x, last)
        ready = min([output.put(y) for output, y in zip(self.outputs, made, strict=True)])
        return mean(output.take(ready) for output in self.outputs)

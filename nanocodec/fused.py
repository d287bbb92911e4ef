"""Triton kernels for the decoder's last stages on a GPU: a convolution, the sum and the next half-snake in one pass.

There the channels are few and the samples many, so memory decides: torch passes over the activations some eighteen
times a residual block, these kernels six times (docs/decisions/0062-fused-branches.md counts). They read and write
what `nanocodec.causal.CausalBranch` does, its state included, and are tested against it in Triton's interpreter; they
compile for a GPU (`benchmarks/nanocodec_fused.py --compile sm_90`), but their speed has not been measured: they are
used only where the environment variable `NANOCODEC_FUSED` is 1.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from nanocodec.causal import CausalConv
from nanocodec.layers import LEAKY_SLOPE

WIDEST = 64  # channels up to which the kernels are used
NARROWEST = 16  # of a tile: what a GPU multiplies at once
TILE, WARPS = 64, 8  # samples that a program computes, and its warps: enough for WIDEST channels to fit its registers


def wanted(weight: Tensor) -> bool:
    """Whether the convolutions of a branch with such weights run by these kernels (on "meta", as on a GPU)."""
    on_gpu = weight.is_cuda or weight.is_meta or os.environ.get("TRITON_INTERPRET") == "1"
    return (
        on_gpu
        and len(weight) <= WIDEST
        and os.environ.get("NANOCODEC_FUSED") == "1"
        and find_spec("triton") is not None
    )


class FusedBranch:
    """The residual blocks of one kernel size, one after another, as `nanocodec.causal.CausalBranch` has them.

    Args:
        branch: a causal `nanocodec.layers.ResBlock`.
        batch: streams.
        dtype: of the convolutions, fp32 or bf16; sums and half-snake are in fp32.
    """

    def __init__(self, branch: Any, batch: int, dtype: torch.dtype) -> None:
        self.blocks = [
            (
                CausalConv(block.input_conv, block.input_activation, batch, dtype),
                CausalConv(block.skip_conv, block.skip_activation, batch, dtype),
            )
            for block in branch.res_blocks
        ]
        self._convs = [_FusedConv(conv) for pair in self.blocks for conv in pair]

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, 1, T] to the same shape."""
        x = x[:, :, 0].contiguous()
        inputs = self._convs[0].room(x.shape[2])
        inputs[..., -x.shape[2] :] = _activated(x, self._convs[0])
        for position in range(0, len(self._convs), 2):
            first, second = self._convs[position : position + 2]
            after = self._convs[position + 2] if position + 2 < len(self._convs) else None
            hidden = second.room(x.shape[2])
            first(inputs, active=hidden, alpha=second.alpha)
            inputs = after.room(x.shape[2]) if after is not None else inputs
            x = second(
                hidden,
                active=inputs if after is not None else None,
                alpha=None if after is None else after.alpha,
                residual=x,
            )
        return x[:, :, None]


class _FusedConv:
    """A causal convolution for the kernel: weights by tap, padded to a tile's channels, and the state of `conv`."""

    def __init__(self, conv: CausalConv) -> None:
        weight = conv.weight[:, :, 0]  # [O, I, K]
        self.channels, self.kernel, self.dilation = len(weight), weight.shape[2], conv.dilation
        self.width = max(NARROWEST, 1 << (self.channels - 1).bit_length())
        # Tensor cores multiply bf16 by all channels at once. Every product of fp32 is an instruction: some at a time.
        self.chunk = NARROWEST if weight.dtype == torch.float32 else self.width
        self.weight = weight.new_zeros(self.kernel, self.width, self.width)
        self.weight[:, : self.channels, : self.channels] = weight.permute(2, 0, 1)
        self.bias = _padded(conv.bias.float(), self.width, 0.0)
        alpha = conv.state.alpha
        assert alpha is not None
        self.half = alpha.numel()
        self.alpha = _padded(alpha.flatten().float(), self.width, 1.0)
        self.past = conv.state.past

    def room(self, length: int) -> Tensor:
        """A buffer [B, C, keep + length] that begins with what was kept of before."""
        past = self.past[:, :, 0]
        buffer = torch.empty((*past.shape[:2], past.shape[2] + length), dtype=past.dtype, device=past.device)
        buffer[..., : past.shape[2]] = past
        return buffer

    def __call__(
        self, inputs: Tensor, active: Tensor | None, alpha: Tensor | None, residual: Tensor | None = None
    ) -> Tensor:
        """The convolution of `inputs`, plus `residual` [B, C, T] where there is one: float32 [B, C, T] then.

        Args:
            inputs: activated, [B, C, keep + T]; its end is kept for the next call.
            active: half-snake of the result is written behind what it already holds; None to leave that out.
            alpha: of that half-snake.
            residual: None leaves the sum itself out: nobody reads it.
        """
        batch, channels, wide = inputs.shape
        keep = self.past.shape[3]
        length = wide - keep
        raw = torch.empty_like(residual) if residual is not None else inputs
        grid = (-(-length // TILE), batch)
        kernel()[grid](
            inputs, self.weight, self.bias, residual if residual is not None else inputs, raw,
            active if active is not None else inputs, alpha if alpha is not None else self.bias,
            channels, self.half, length, wide,
            active.shape[2] if active is not None else 0, active.shape[2] - length if active is not None else 0,
            self.kernel, self.dilation, LEAKY_SLOPE,
            WIDTH=self.width, CHUNK=self.chunk, TILE=TILE, SUM=residual is not None, ACTIVE=active is not None,
            num_warps=WARPS,
        )  # fmt: skip
        self.past[:, :, 0] = inputs[..., length:]
        return raw


def _padded(values: Tensor, width: int, value: float) -> Tensor:
    return torch.nn.functional.pad(values, (0, width - len(values)), value=value).contiguous()


def _activated(x: Tensor, conv: _FusedConv) -> Tensor:
    alpha = conv.alpha[: conv.half, None]
    head, tail = x[:, : conv.half], x[:, conv.half :]
    snake = head + (alpha + 1e-9).reciprocal() * torch.sin(alpha * head).square()
    return torch.cat([snake, torch.nn.functional.leaky_relu(tail, LEAKY_SLOPE)], 1)


@cache
def kernel() -> Any:
    """The kernel; made when it is first needed, for Triton is an extra."""
    import triton
    import triton.language as tl

    globals()["tl"] = tl  # a kernel finds its names among the module's

    # The same code for all sizes, its loops not unrolled: compiling takes seconds, and far more with longer code.
    sizes = ["channels", "half", "length", "wide", "active_wide", "active_keep", "taps", "dilation"]

    @triton.jit(do_not_specialize=sizes)
    def convolve(  # type: ignore[no-untyped-def]
        inputs, weight, bias, residual, raw, active, alpha,
        channels, half, length, wide, active_wide, active_keep, taps, dilation, slope,
        WIDTH: tl.constexpr, CHUNK: tl.constexpr, TILE: tl.constexpr, SUM: tl.constexpr, ACTIVE: tl.constexpr,
    ):  # fmt: skip
        time = tl.program_id(0) * TILE + tl.arange(0, TILE)[None, :]
        item = tl.program_id(1).to(tl.int64) * channels  # one recording's numbers are fewer than 2**31
        inputs += item * wide
        channel = tl.arange(0, WIDTH)[:, None]
        total = tl.zeros((WIDTH, TILE), tl.float32)
        for tap in range(taps):
            for first in range(0, WIDTH, CHUNK):
                source = first + tl.arange(0, CHUNK)
                there = (source[:, None] < channels) & (time < length)
                x = tl.load(inputs + source[:, None] * wide + time + tap * dilation, mask=there, other=0.0)
                w = tl.load(weight + (tap * WIDTH + channel) * WIDTH + source[None, :])
                total = tl.dot(w, x, total, input_precision="ieee")
        total += tl.load(bias + channel)
        there = (channel < channels) & (time < length)
        if SUM:
            total += tl.load(residual + item * length + channel * length + time, mask=there, other=0.0)
            tl.store(raw + item * length + channel * length + time, total, mask=there)
        if ACTIVE:
            a = tl.load(alpha + channel)
            wave = tl.sin(a * total)
            snake = total + wave * wave / (a + 1e-9)
            leaky = tl.where(total > 0, total, total * slope)
            out = tl.where(channel < half, snake, leaky).to(active.dtype.element_ty)
            tl.store(active + item * active_wide + channel * active_wide + active_keep + time, out, mask=there)

    return convolve

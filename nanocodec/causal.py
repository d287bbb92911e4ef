"""The layers of a causal decoder that remember what they need of their past inputs, for decoding without gradients.

Each is made of two steps: activated inputs are written behind those of before, into the memory that the convolution
reads; then comes the convolution. On a processor the first is one pass of a compiled kernel, with the channels
innermost in memory, as oneDNN's convolutions are fastest (docs/decisions/0045-compiled-activations.md). Sequences are
[B, C, 1, T] here: torch knows of channels that lie innermost in two dimensions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from nanocodec import kernels
from nanocodec.layers import LEAKY_SLOPE, HalfSnake, is_wide

FEW = 2048  # outputs, about a frame, up to which a convolution is given its weights in order, else made at each call


class ConvState:
    """What a causal layer reads: the activation before it, if any, and the last `keep` activated inputs of before.

    Args:
        activation: the module before the layer, half-snake; None for none.
        like: a tensor of the type and on the device of the layer's weights.
        batch: streams.
        channels: of the input.
        keep: inputs of before that the layer reads again.
        wide: whether the channels lie innermost in memory.
    """

    def __init__(self, activation: Any, like: Tensor, batch: int, channels: int, keep: int, wide: bool) -> None:
        self.alpha = None if activation is None else _alpha(activation)
        self.layout = _layout(wide)
        self.past = self._empty(like, (batch, channels, 1, keep)).zero_()
        self.compiled = kernels.compiled(like.device)
        if self.compiled:
            self.table = kernels.tables(channels, self.alpha, LEAKY_SLOPE)
        elif self.alpha is not None:
            self.alpha = self.alpha[:, None, None]
            self.inverse = (self.alpha + 1e-9).reciprocal()

    def __call__(self, x: Tensor, change: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The activation of x + change [B, C, 1, T] behind what was kept, [B, C, 1, keep + T]; and x + change."""
        if self.compiled:
            return kernels.advance(x, change, self.past, self.table)
        if change is not None:
            x = change.add_(x) if change.dtype == x.dtype else x + change
        keep, length = self.past.shape[3], x.shape[3]
        out = self._empty(self.past, (*x.shape[:3], keep + length))
        out[..., :keep] = self.past
        self._activate(x, out[..., keep:])
        self.past.copy_(out[..., length:])
        return out, x

    def _empty(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=self.layout)

    def _activate(self, x: Tensor, out: Tensor) -> None:
        if self.alpha is None:
            out.copy_(x)
            return
        half = len(self.alpha)
        head, tail = x[:, :half], x[:, half:]
        head = head.float()  # only the convolutions are in half precision: snake does not bear it
        wave = torch.mul(head, self.alpha).sin_().square_()
        if out.dtype == x.dtype == torch.float32:
            torch.addcmul(head, wave, self.inverse, out=out[:, :half])
            torch._C._nn.leaky_relu(tail, LEAKY_SLOPE, out=out[:, half:])
        else:
            out[:, :half] = torch.addcmul(head, wave, self.inverse)
            out[:, half:] = F.leaky_relu(tail, LEAKY_SLOPE)


def _alpha(activation: Any) -> Tensor:
    inner = activation.activation
    if not isinstance(inner, HalfSnake):
        raise ValueError("only causal decoders with half-snake can be streamed")
    return inner.snake_act.alpha.detach().flatten()


def _layout(wide: bool) -> torch.memory_format:
    return torch.channels_last if wide else torch.contiguous_format


class CausalConv:
    """A causal convolution that remembers its last inputs, with the activation before it, if any.

    Args:
        module: a causal `nanocodec.layers.Conv`.
        activation: the module before it, half-snake; None for none.
        batch: streams.
        dtype: of the convolution, fp32 or bf16.
    """

    def __init__(self, module: Any, activation: Any, batch: int, dtype: torch.dtype) -> None:
        conv = module.conv
        weight, self.bias = conv.weight.detach().to(dtype), conv.bias.detach().to(dtype)
        self.emulates_bf16 = dtype != torch.float32 and not _has_bf16(weight.device)
        if self.emulates_bf16:
            weight, self.bias = weight.float(), self.bias.float()
        wide = is_wide(weight)
        self.weight = weight[:, :, None].contiguous(memory_format=_layout(wide))
        self.dilation = conv.dilation[0]
        self.state = ConvState(activation, weight, batch, weight.shape[1], module.left, wide)
        self.length = 0
        self.packed: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor, change: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The convolution of x + change [B, I, 1, T], activated: [B, O, 1, T]; and x + change itself."""
        length = x.shape[3]
        inputs, x = self.state(x, change)
        if self.emulates_bf16:
            inputs = _rounded(inputs)
        if inputs.is_cuda and len(inputs) == 1 and length <= FEW:
            return self._product(inputs, length), x
        if length != self.length:
            self.length, self.packed = length, None
        elif length <= FEW and self.packed is None:
            self.packed = _packed(self.weight, self.bias, self.dilation, inputs.shape)
        if self.packed is None:
            out = F.conv2d(inputs, self.weight, self.bias, dilation=(1, self.dilation))
        else:
            out = self.packed(inputs)
        return _rounded(out) if self.emulates_bf16 else out, x

    def _product(self, inputs: Tensor, length: int) -> Tensor:
        """A short convolution as a matrix product: for a single stream, cuDNN's own take four times as long."""
        n_out, n_in, _, width = self.weight.shape
        shifted = inputs.as_strided((n_in, width, length), (inputs.shape[3], self.dilation, 1))
        weight = self.weight.view(n_out, n_in * width)
        return torch.addmm(self.bias[:, None], weight, shifted.reshape(n_in * width, length))[None, :, None]


def _has_bf16(device: torch.device) -> bool:
    """Whether convolutions in bf16 are fast here. Else those in fp32 of rounded numbers stand in: no gain, no loss."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return device.type != "cpu" or bool(supported and supported())


def _rounded(x: Tensor) -> Tensor:
    return x.to(torch.bfloat16).float()


def _packed(weight: Tensor, bias: Tensor, dilation: int, shape: torch.Size) -> Callable[[Tensor], Tensor] | None:
    """A convolution for inputs of one shape only, its weights put once into the order that oneDNN wants for it.

    Not every build of torch has these operators, which serve its compiler; and for another shape they crawl.
    """
    convolve = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    if convolve is None or weight.device.type != "cpu":
        return None
    geometry = [0, 0], [1, 1], [1, dilation], 1
    ordered = torch.ops.aten.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *geometry, shape)
    return lambda x: convolve(x, ordered, bias, *geometry, "none", [], "")


class CausalUpsample:
    """A causal transposed convolution, each output of two frames' inputs, with the activation before it.

    Args:
        module: a `nanocodec.layers.GroupedCausalUpsample`.
        activation: the module before it, half-snake.
        batch: streams.
    """

    def __init__(self, module: Any, activation: Any, batch: int) -> None:
        weight = module.conv.weight.detach().float()
        self.channels, self.rate = weight.shape[0] // 2, module.rate
        self.bias = module.conv.bias.detach().float()
        self.state = ConvState(activation, weight, batch, weight.shape[0], 1, kernels.compiled(weight.device))
        self.layout = _layout(is_wide(weight[::2]))  # of what it gives
        weight = weight.view(self.channels, 2, 2, self.rate)  # output, input of its pair, frame, sample
        if self.state.compiled:
            self.weight = weight.permute(2, 1, 3, 0).contiguous()
        else:
            self.weight = weight.reshape(self.channels, 2, 2 * self.rate)

    def __call__(self, x: Tensor) -> Tensor:
        inputs, _ = self.state(x)
        if self.state.compiled:
            return kernels.upsample(inputs, self.weight, self.bias)
        batch, _, _, frames = inputs.shape
        spread = inputs.view(batch, self.channels, 2, frames).transpose(2, 3) @ self.weight
        out = spread[:, :, 1:, : self.rate] + spread[:, :, :-1, self.rate :] + self.bias[:, None, None]
        return out.view(batch, self.channels, 1, -1).contiguous(memory_format=self.layout)


class CausalBranch:
    """The residual blocks of one kernel size, one after another; each leaves it to the next to add what it changes.

    Args:
        branch: a causal `nanocodec.layers.ResBlock`.
        batch: streams.
        dtype: of the convolutions, fp32 or bf16.
    """

    def __init__(self, branch: Any, batch: int, dtype: torch.dtype) -> None:
        self.blocks = [
            (
                CausalConv(block.input_conv, block.input_activation, batch, dtype),
                CausalConv(block.skip_conv, block.skip_activation, batch, dtype),
            )
            for block in branch.res_blocks
        ]

    def __call__(self, x: Tensor) -> Tensor:
        change = None
        for first, second in self.blocks:
            hidden, x = first(x, change)
            change, _ = second(hidden)
        return x if change is None else x + change

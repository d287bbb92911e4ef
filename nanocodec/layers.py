"""The blocks that encoder and decoder are made of: padded convolutions, half-snake, HiFi-GAN residual layers.

Sequences are float tensors [B, C, T]. `lengths` is None when every item fills its row, otherwise int64 [B] with
each item's true length at that point of the network. Items of a ragged batch come out exactly as they would alone,
because every convolution pads an item at *its own* end: positions past it may hold anything and are never read.

Attribute names equal upstream's (NeMo `audio_codec_modules`), so that state dicts match without renaming.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

from nanocodec.config import PadMode
from nanocodec.kernels import compiled

WIDE = 64  # channels from which on torch alone decodes with them innermost: with fewer, half-snake loses the gain
LEAKY_SLOPE = 0.01  # torch's default, as upstream; not HiFi-GAN's 0.1

_folded: ContextVar[bool] = ContextVar("folded", default=False)


@contextmanager
def folded_weights() -> Iterator[None]:
    """Models that are built inside have plain weights, as `fold_weight_norm` leaves them. Building a full-size model on
    the meta device takes 0.2 s so, and 2 to 5 s with the norms, which torch computes there in Python."""
    before = _folded.set(True)
    try:
        yield
    finally:
        _folded.reset(before)


def normed(layer: nn.Module) -> Any:
    """`layer` with weight normalisation, a magnitude per index of the first dimension of its weight."""
    return layer if _folded.get() else weight_norm(layer, dim=0)


def pad_at_ends(x: Tensor, left: int, right: int, mode: PadMode, lengths: Tensor | None = None) -> Tensor:
    """Pad sequences, on the right at each item's own end.

    Reflection goes back and forth where an item is shorter than the padding, which torch's own reflect refuses.

    Args:
        x: float [B, C, T].
        left: columns to add before the first.
        right: columns to add after an item's last.
        mode: zeros, replicate or reflect.
        lengths: int64 [B], or None where every item fills its row.

    Returns:
        [B, C, left + T + right]. Column t of an item is its input column t - left, extended past both ends by `mode`;
        columns beyond `right` samples after the item's end carry no meaning.
    """
    total = x.shape[-1]
    if left == 0 and right == 0 and (lengths is None or mode != "zeros"):
        return x
    if lengths is None and (mode != "reflect" or total > max(left, right)):
        return F.pad(x, (left, right), mode="constant" if mode == "zeros" else mode)
    if lengths is None:
        lengths = torch.full((x.shape[0],), total, device=x.device)
    column = torch.arange(-left, total + right, device=x.device)[None, :]
    last = (lengths[:, None] - 1).clamp(min=0)
    if mode == "reflect":
        period = (2 * last).clamp(min=1)
        column = column.remainder(period)
        source = torch.minimum(column, period - column).clamp(min=0).minimum(last)
    else:
        source = column.clamp(min=0).minimum(last)
    padded = x.gather(2, source[:, None, :].expand(-1, x.shape[1], -1))
    if mode == "zeros":
        padded = padded * ((column >= 0) & (column <= last))[:, None, :]
    return padded


class Conv(nn.Module):
    """Weight-normed Conv1d that keeps the length (stride 1) or divides it by `stride`.

    Causal: all padding (zeros) is on the left. Otherwise it is symmetric: (kernel - 1) * dilation / 2 for stride 1
    and (stride + 1) // 2 for a downsampling convolution of kernel 2 * stride.

    Args:
        in_channels: I.
        out_channels: O.
        kernel_size: in samples.
        stride: T samples become T // stride.
        dilation: between the kernel's samples.
        pad_mode: what a convolution that is not causal is padded with.
        causal: whether it looks backwards only.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        pad_mode: PadMode = "zeros",
        causal: bool = False,
    ):
        super().__init__()
        self.conv = normed(nn.Conv1d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation))
        self.pad_mode: PadMode = pad_mode
        reach = (kernel_size - 1) * dilation
        if causal:
            self.left, self.right = reach, 0
        else:
            self.left = self.right = reach // 2 if stride == 1 else (stride + 1) // 2
        self.causal = causal

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, I, T] to [B, O, T // stride]."""
        if self.causal:  # nothing to the right is ever read, so lengths do not matter
            return self.conv(F.pad(x, (self.left, 0)))
        return self.conv(pad_at_ends(x, self.left, self.right, self.pad_mode, lengths))


class GroupedCausalUpsample(nn.Module):
    """Causal transposed convolution, kernel 2 * rate: C channels to C // 2, output j from inputs 2j and 2j + 1.

    Written as a small matrix product and an overlap-add of neighbouring frames, which is what the transposed
    convolution trimmed by `rate` samples on the right amounts to; grouped transposed kernels are slow on CPUs.

    Args:
        channels: C, of the input.
        rate: samples that each of the input's becomes.
    """

    def __init__(self, channels: int, rate: int):
        super().__init__()
        out = channels // 2
        self.conv = normed(nn.ConvTranspose1d(channels, out, 2 * rate, stride=rate, groups=out))
        self.rate = rate

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, C, T] to [B, C // 2, T * rate]."""
        batch, channels, frames = x.shape
        weight = self.conv.weight.view(channels // 2, 2, 2 * self.rate)
        pairs = x.view(batch, channels // 2, 2, frames).transpose(2, 3)
        spread = pairs @ weight  # [B, C/2, T, 2 * rate]: what each frame adds to its own and to the next block
        own, late = spread.split(self.rate, dim=3)
        blocks = own + F.pad(late, (0, 0, 1, -1)) + self.conv.bias[:, None, None]
        return blocks.reshape(batch, channels // 2, frames * self.rate)


class DenseUpsample(nn.Module):
    """Non-causal transposed convolution of LFSC, kernel 2 * rate.

    Args:
        channels: C, of the input.
        rate: samples that each of the input's becomes.
    """

    def __init__(self, channels: int, rate: int):
        super().__init__()
        trim = 2 * rate - rate
        self.conv = normed(
            nn.ConvTranspose1d(
                channels, channels // 2, 2 * rate, stride=rate, padding=(trim + 1) // 2, output_padding=trim % 2
            )
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, C, T] to [B, C // 2, T * rate]."""
        if lengths is not None:  # alone, an item meets zeros after its end
            x = x * valid_mask(lengths, x.shape[-1])[:, None, :]
        return self.conv(x)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """On a GPU, convolutions and products of fp32 numbers in fp32. Torch by itself lets cuDNN round them to TF32, which
    changed one code in a hundred."""
    if device.type != "cuda":
        yield
        return
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.set_float32_matmul_precision(products)


def valid_mask(lengths: Tensor, total: int) -> Tensor:
    """Bool [B, total]: True where a column belongs to the item, for lengths [B]."""
    return torch.arange(total, device=lengths.device)[None, :] < lengths[:, None]


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha, one learned alpha per channel (Ziyin et al. 2020, arXiv:2006.08195)."""

    def __init__(self, channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same shape."""
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(self.alpha * x).square()


class _HalfSnakeFunction(torch.autograd.Function):
    """Half-snake with a hand-written backward: training keeps one tensor per activation instead of five."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(x, alpha)
        half = alpha.shape[1]
        out = torch.empty_like(x)
        head, tail = x[:, :half], x[:, half:]
        wave = torch.mul(head, alpha).sin_()
        torch.addcmul(head, wave.square_(), (alpha + 1e-9).reciprocal(), out=out[:, :half])
        out[:, half:] = F.leaky_relu(tail, LEAKY_SLOPE)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, alpha = ctx.saved_tensors
        half = alpha.shape[1]
        head, tail = x[:, :half], x[:, half:]
        grad_head = grad[:, :half]
        inverse = (alpha + 1e-9).reciprocal()
        phase = head * alpha
        # d/dx = 1 + sin(2 a x) a/(a+e);  d/da = x sin(2 a x)/(a+e) - sin(a x)^2/(a+e)^2
        square = phase.sin().square_()
        weighted = phase.mul_(2).sin_().mul_(grad_head)
        grad_alpha = ((weighted * head).sum((0, 2), keepdim=True) * inverse) - (
            (square.mul_(grad_head)).sum((0, 2), keepdim=True) * inverse.square()
        )
        grad_x = torch.empty_like(x)
        torch.addcmul(grad_head, weighted, alpha * inverse, out=grad_x[:, :half])
        grad_x[:, half:] = torch.where(tail > 0, grad[:, half:], grad[:, half:] * LEAKY_SLOPE)
        return grad_x, grad_alpha


class HalfSnake(nn.Module):
    """Snake on the first C // 2 channels, leaky ReLU on the rest."""

    def __init__(self, channels: int):
        super().__init__()
        self.snake_act = Snake(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same shape."""
        if torch.is_grad_enabled() and x.requires_grad and not torch.jit.is_tracing():
            return _HalfSnakeFunction.apply(x, self.snake_act.alpha)
        half = self.snake_act.alpha.shape[1]
        return torch.cat([self.snake_act(x[:, :half]), F.leaky_relu(x[:, half:], LEAKY_SLOPE)], dim=1)


class Activation(nn.Module):
    """The activation that a config names, `half_snake` or `lrelu`; its parameter is `activation.snake_act.alpha`."""

    def __init__(self, kind: str, channels: int):
        super().__init__()
        self.activation: nn.Module = HalfSnake(channels) if kind == "half_snake" else nn.LeakyReLU(LEAKY_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same shape."""
        return self.activation(x)


class ResidualBlock(nn.Module):
    """x + conv(act(dilated conv(act(x))))."""

    def __init__(self, channels: int, kernel_size: int, dilation: int, activation: str, **conv: Any):
        super().__init__()
        self.input_activation = Activation(activation, channels)
        self.input_conv = Conv(channels, channels, kernel_size, dilation=dilation, **conv)
        self.skip_activation = Activation(activation, channels)
        self.skip_conv = Conv(channels, channels, kernel_size, **conv)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, C, T] to the same shape."""
        hidden = self.input_conv(self.input_activation(x), lengths)
        return x + self.skip_conv(self.skip_activation(hidden), lengths)


class ResBlock(nn.Module):
    """Residual blocks one after another, one per dilation."""

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...], activation: str, **conv: Any):
        super().__init__()
        self.res_blocks = nn.ModuleList(
            ResidualBlock(channels, kernel_size, dilation, activation, **conv) for dilation in dilations
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, C, T] to the same shape."""
        for block in self.res_blocks:
            x = block(x, lengths)
        return x


class ResLayer(nn.Module):
    """The mean of parallel `ResBlock`s, one per kernel size."""

    def __init__(
        self, channels: int, kernel_sizes: tuple[int, ...], dilations: tuple[int, ...], activation: str, **conv: Any
    ):
        super().__init__()
        self.res_blocks = nn.ModuleList(
            ResBlock(channels, kernel_size, dilations, activation, **conv) for kernel_size in kernel_sizes
        )

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, C, T] to the same shape."""
        total = self.res_blocks[0](x, lengths)
        for block in self.res_blocks[1:]:
            total = total + block(x, lengths)
        return total / len(self.res_blocks)


def fold_weight_norm(module: nn.Module) -> nn.Module:
    """Replace every weight-normed weight by its plain value, in place; outputs stay equal, inference gets faster."""
    for child in module.modules():
        if parametrize.is_parametrized(child, "weight"):
            parametrize.remove_parametrizations(child, "weight", leave_parametrized=True)
    return module


def fold_tensors(tensors: Mapping[str, Tensor], dim: int = 0) -> dict[str, Tensor]:
    """Fold the weight normalisation in a state dict: magnitude * direction / norm, per index of one dimension.

    Accepts both of torch's spellings: `parametrizations.weight.original0` and `1`, and `weight_g` and `weight_v`.
    A pair of which half is missing, or whose shapes or types make no weight, stays, for a strict load to name.

    Args:
        tensors: a network's tensors by name.
        dim: the dimension that has a magnitude of its own.

    Returns:
        The same with one `weight` for each pair; floating-point tensors as fp32.
    """
    plain = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for g_ending, v_ending in (("parametrizations.weight.original0", "parametrizations.weight.original1"),
                               ("weight_g", "weight_v")):  # fmt: skip
        for g_name in [name for name in plain if name.endswith("." + g_ending)]:
            stem = g_name.removesuffix(g_ending)
            magnitude, direction = plain[g_name], plain.get(stem + v_ending)
            if direction is None or magnitude.dim() != direction.dim() or not dim < direction.dim():
                continue
            if any(size != (direction.shape[at] if at == dim else 1) for at, size in enumerate(magnitude.shape)):
                continue
            if not direction.is_floating_point() or not magnitude.is_floating_point():
                continue
            del plain[g_name], plain[stem + v_ending]
            plain[stem + "weight"] = torch._weight_norm(direction, magnitude, dim)
    return plain


def is_wide(weight: Tensor) -> bool:
    """Whether a convolution decodes with the channels innermost in memory, as oneDNN reads them best."""
    return compiled(weight.device) or (weight.shape[0] >= WIDE and weight.device.type == "cpu")


def order_for_decoding(decoder: nn.Module) -> None:
    """Lay a folded decoder's wide weights out, in place, as decoding wants them, which else does so every time."""
    for conv in decoder.modules():
        if isinstance(conv, nn.Conv1d) and is_wide(conv.weight):
            conv.weight.data = conv.weight.data[:, :, None].contiguous(memory_format=torch.channels_last)[:, :, 0]


def has_weight_norm(module: nn.Module) -> bool:
    """Whether any convolution still carries its weight normalisation."""
    return any(parametrize.is_parametrized(child, "weight") for child in module.modules())

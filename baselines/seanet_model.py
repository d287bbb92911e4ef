"""SEANet, the convolutional encoder and decoder of EnCodec (Défossez et al., 2022), in the form that sees both sides.

Everything that public checkpoints do not say is fixed here: kernels of 7, 3 and 7, one residual unit a stage, no
dilation, ELU, reflected edges. Weight normalisation is folded.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class EdgeConv(nn.Conv1d):
    """Convolution whose edges reflect the signal: T samples give ceil(T / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to [B, C', ceil(T / stride)]."""
        (kernel,), (stride,) = self.kernel_size, self.stride
        total = kernel - stride
        right = total // 2
        return super().forward(reflect(x, total - right, right + -x.shape[-1] % stride))


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Pad by reflection; a signal shorter than the edge is lengthened by zeros for it.

    Args:
        x: [..., T].
        left: Samples to add before.
        right: Samples to add behind.

    Returns:
        [..., left + T + right].
    """
    missing = max(0, max(left, right) - x.shape[-1] + 1)
    padded = F.pad(F.pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]


class Upsampling(nn.ConvTranspose1d):
    """Transposed convolution, cut on both sides: N frames give N * stride samples."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[B, C, N] to [B, C', N * stride]."""
        total = self.kernel_size[0] - self.stride[0]
        left = total - total // 2
        return super().forward(x)[..., left : left + x.shape[-1] * self.stride[0]]


class Residual(nn.Module):
    """Two convolutions beside a third."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.block = nn.Sequential(nn.ELU(), EdgeConv(width, half, 3), nn.ELU(), EdgeConv(half, width, 1))
        self.shortcut = EdgeConv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


class Recurrent(nn.Module):
    """Two LSTM layers over time, added to their input; in both directions, the width doubles."""

    def __init__(self, width: int, bidirectional: bool = False) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N] to the same, or to [B, 2 C, N]."""
        seen = self.lstm(x.transpose(1, 2))[0].transpose(1, 2)
        return x.repeat(1, seen.shape[1] // x.shape[1], 1) + seen


def encoder(width: int, strides: Sequence[int], dimension: int, bidirectional: bool = False) -> nn.Sequential:
    """The encoder: [B, 1, T] to [B, dimension, ceil(T / product of strides)].

    Args:
        width: Channels of the first stage; each further one doubles them.
        strides: Of the stages.
        dimension: Channels at the end.
        bidirectional: Whether its LSTM looks both ways.

    Returns:
        A module.
    """
    layers: list[nn.Module] = [EdgeConv(1, width, 7)]
    for stride in strides:
        layers += [Residual(width), nn.ELU(), EdgeConv(width, 2 * width, 2 * stride, stride)]
        width *= 2
    layers.append(Recurrent(width, bidirectional))
    return nn.Sequential(*layers, nn.ELU(), EdgeConv(width * (2 if bidirectional else 1), dimension, 7))


def decoder(width: int, strides: Sequence[int], dimension: int) -> nn.Sequential:
    """The decoder: [B, dimension, N] to [B, 1, N * product of strides].

    Args:
        width: Channels of the last stage; each before it has twice as many.
        strides: Of the stages.
        dimension: Channels at the beginning.

    Returns:
        A module.
    """
    wide = width * 2 ** len(strides)
    layers: list[nn.Module] = [EdgeConv(dimension, wide, 7), Recurrent(wide)]
    for stride in strides:
        layers += [nn.ELU(), Upsampling(wide, wide // 2, 2 * stride, stride), Residual(wide // 2)]
        wide //= 2
    return nn.Sequential(*layers, nn.ELU(), EdgeConv(wide, 1, 7))

"""The network of WavTokenizer (Ji et al., 2024, arXiv 2408.16532), from audio to one token a frame and back.

Encoder: EnCodec's SEANet (Défossez et al., 2022) with two LSTM layers, convolutions that see both sides. One codebook.
Decoder: convolutions with one attention over all frames, ConvNeXt blocks as in Vocos (Siuzdak, 2023), and an inverse
STFT. Upstream: jishengpeng/WavTokenizer at 5cf440d, encoder/modules/seanet.py, encoder/quantization/core_vq.py,
decoder/models.py, decoder/heads.py. Everything that a public checkpoint does not say is fixed here: kernels of 7, 3 and
7, no dilation, ELU, 32 groups in GroupNorm, reflected edges.

Weight normalisation is folded, and of the four adaptive norms only the first is kept: upstream always asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 32
EPSILON = 1e-6


@dataclass(frozen=True)
class Shape:
    """What differs between models: the widths and strides."""

    strides: tuple[int, ...]
    """Of the encoder, first to last; their product is the hop."""
    filters: int
    """Of the encoder's first layer; each stride doubles them."""
    codebook: int
    dimension: int
    """Of a codebook's entries."""
    width: int
    """Of the decoder; a multiple of 32."""
    hidden: int
    """Inside a ConvNeXt block."""
    blocks: int
    window: int
    """Samples of the inverse STFT."""

    @property
    def hop(self) -> int:
        return prod(self.strides)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Shape":
        """The shape of the model whose tensors (named as in `WavTokenizer`) these are.

        Raises KeyError, IndexError or ValueError where they are of no such model.
        """
        layers = takewhile(lambda i: f"encoder.{i - 2}.shortcut.weight" in tensors, count(3, 3))
        strides = [tensors[f"encoder.{i}.weight"].shape[2] // 2 for i in layers]  # a kernel is twice the stride
        codebook, dimension = tensors["codebook"].shape
        hidden, width = tensors["backbone.convnext.0.pwconv1.weight"].shape
        blocks = sum(name.startswith("backbone.convnext.") and name.endswith(".gamma") for name in tensors)
        return cls(
            tuple(strides), len(tensors["encoder.0.weight"]), codebook, dimension, width, hidden, blocks,
            len(tensors["head.istft.window"]),
        )  # fmt: skip


class WavTokenizer(nn.Module):
    """Audio [B, T] at 24 kHz to tokens [B, N] with N = ceil(T / hop), and tokens to audio [B, N * hop]."""

    codebook: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = encoder(shape)
        self.register_buffer("codebook", torch.zeros(shape.codebook, shape.dimension))
        self.backbone = Backbone(shape)
        self.head = Head(shape.width, shape.window, shape.hop)

    def encode(self, audio: Tensor) -> Tensor:
        """Tokens [B, N], int64 in [0, codebook): the entries nearest to the latents."""
        latents = self.encoder(audio[:, None]).transpose(1, 2)  # [B, N, D]
        # Term for term as upstream, so that near ties fall the same way.
        flat = latents.reshape(-1, latents.shape[-1])
        distance = flat.square().sum(1, keepdim=True) - 2 * flat @ self.codebook.T + self.codebook.T.square().sum(0)
        return distance.argmin(-1).view(latents.shape[:-1])

    def decode(self, tokens: Tensor) -> Tensor:
        """Audio [B, N * hop] of tokens [B, N]. Memory grows with N squared."""
        return self.head(self.backbone(F.embedding(tokens, self.codebook).transpose(1, 2)))


class EdgeConv(nn.Conv1d):
    """Convolution whose edges reflect the signal: T samples give ceil(T / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to [B, C', ceil(T / stride)]."""
        (kernel,), (stride,) = self.kernel_size, self.stride
        total = kernel - stride
        right = total // 2
        return super().forward(reflect(x, total - right, right + -x.shape[-1] % stride))


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """`x` [..., T] with reflected edges; a signal shorter than the edge is lengthened by zeros for the reflection."""
    missing = max(0, max(left, right) - x.shape[-1] + 1)
    padded = F.pad(F.pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]


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
    """Two LSTM layers over time, added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N] to the same."""
        return x + self.lstm(x.transpose(1, 2))[0].transpose(1, 2)


def encoder(shape: Shape) -> nn.Sequential:
    """[B, 1, T] to [B, dimension, ceil(T / hop)]."""
    width = shape.filters
    layers: list[nn.Module] = [EdgeConv(1, width, 7)]
    for stride in shape.strides:
        layers += [Residual(width), nn.ELU(), EdgeConv(width, 2 * width, 2 * stride, stride)]
        width *= 2
    return nn.Sequential(*layers, Recurrent(width), nn.ELU(), EdgeConv(width, shape.dimension, 7))


class Backbone(nn.Module):
    """[B, dimension, N] to [B, N, width]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.embed = nn.Conv1d(shape.dimension, width, 7, padding=3)
        self.pos_net = nn.Sequential(
            ResNetBlock(width),
            ResNetBlock(width),
            Attention(width),
            ResNetBlock(width),
            ResNetBlock(width),
            norm(width),
        )
        self.norm = nn.LayerNorm(width, EPSILON)
        self.convnext = nn.Sequential(*(ConvNeXtBlock(width, shape.hidden) for _ in range(shape.blocks)))
        self.final_layer_norm = nn.LayerNorm(width, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.pos_net(self.embed(x)).transpose(1, 2)).transpose(1, 2)
        return self.final_layer_norm(self.convnext(x).transpose(1, 2))


def norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, EPSILON)


class ResNetBlock(nn.Module):
    """Two convolutions, each after norm and swish, added to their input [B, C, N]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(width), norm(width)
        self.conv1, self.conv2 = (nn.Conv1d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class Attention(nn.Module):
    """One head over all frames, added to its input [B, C, N]; it knows no positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv1d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        q, k, v = (layer(normed).transpose(1, 2) for layer in (self.q, self.k, self.v))
        return x + self.proj_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2))


class ConvNeXtBlock(nn.Module):
    """A convolution of each channel, then two layers of each frame, added to their input [B, C, N]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.pwconv1 = nn.Linear(width, hidden)
        self.pwconv2 = nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        frames = self.norm(self.dwconv(x).transpose(1, 2))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(frames)))).transpose(1, 2)


class Head(nn.Module):
    """[B, N, width] to audio [B, N * hop], by magnitudes (at most 100) and phases of a short-time spectrum."""

    def __init__(self, width: int, window: int, hop: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, window + 2)
        self.istft = InverseSTFT(window, hop)

    def forward(self, x: Tensor) -> Tensor:
        magnitude, phase = self.out(x).transpose(1, 2).chunk(2, dim=1)
        return self.istft(torch.polar(magnitude.exp().clamp(max=1e2), phase))


class InverseSTFT(nn.Module):
    """Overlap-add of N windows a hop apart, normalised, and cut to N * hop samples in the middle."""

    window: Tensor

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.zeros(window))

    def forward(self, spectrum: Tensor) -> Tensor:
        """[B, window / 2 + 1, N], complex, to [B, N * hop]."""
        frames = torch.fft.irfft(spectrum, len(self.window), dim=1) * self.window[:, None]
        weight = self.window.square()[None, :, None].expand(1, -1, spectrum.shape[-1])
        return self._add(frames) / self._add(weight)

    def _add(self, frames: Tensor) -> Tensor:
        length = len(self.window)
        edge = (length - self.hop) // 2
        whole = (frames.shape[-1] - 1) * self.hop + length
        return F.fold(frames, (1, whole), (1, length), stride=(1, self.hop))[:, 0, 0, edge : whole - edge]

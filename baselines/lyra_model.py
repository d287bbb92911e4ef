"""The networks of Lyra v2 (Google, 2022), a SoundStream (Zeghidour et al., 2021, arXiv 2107.03312) of 50 frames/s.

Upstream runs them a frame at a time, with the past of every convolution kept as a state that begins as zeros; here a
whole utterance is one pass, with those zeros before it, and the result is the same. Weights that the published files
hold as 8-bit integers are taken at the values that they stand for, and computed with in float32: LiteRT's own kernels
differ as much from one another as from this (docs/reference/codecs.md).
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HOP = 320
WIDTH = 64
"""Of the features that are quantised; and of the groups of most convolutions."""
ENTRIES = 16
"""Of each codebook."""


class CausalConv(nn.Conv1d):
    """Convolution that sees the past: T samples give T / stride."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to [B, C', T / stride]."""
        (kernel,), (stride,), (dilation,) = self.kernel_size, self.stride, self.dilation
        return super().forward(F.pad(x, ((kernel - 1) * dilation + 1 - stride, 0)))


class CausalUpsampling(nn.ConvTranspose1d):
    """Transposed convolution that is cut where the past ends: N frames give N * stride samples."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """[B, C, N] to [B, C', N * stride]."""
        return super().forward(x)[..., : x.shape[-1] * self.stride[0]]


class Activation(nn.LeakyReLU):
    """LeakyReLU as upstream has it."""

    def __init__(self) -> None:
        super().__init__(0.3)


class Unit(nn.Module):
    """Residual unit: the activation stands before each convolution, and none after the sum."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Activation(),
            CausalConv(width, width, 3, dilation=dilation, groups=width, bias=False),
            nn.Conv1d(width, width, 1),
            Activation(),
            nn.Conv1d(width, width, 1, groups=width // WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to [B, C, T]."""
        return x + self.layers(x)


def units(width: int) -> Iterator[nn.Module]:
    """The three units of a stage."""
    return (Unit(width, dilation) for dilation in (1, 3, 9))


class Lyra(nn.Module):
    """Audio [B, T] at 16 kHz, T of whole hops, to codes [B, K, T / 320] and back."""

    books: Tensor

    def __init__(self, quantizers: int = 46) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            CausalConv(1, 64, 64, stride=16), *units(64), Activation(),
            CausalConv(64, 128, 10, stride=5), *units(128), Activation(),
            CausalConv(128, 256, 4, stride=2, groups=2), *units(256), Activation(),
            CausalConv(256, 512, 4, stride=2, groups=4), Activation(),
            CausalConv(512, WIDTH, 3, groups=4),
        )  # fmt: skip
        self.register_buffer("books", torch.zeros(quantizers, ENTRIES, WIDTH))
        self.decoder = nn.Sequential(
            CausalConv(WIDTH, 512, 3, groups=4), Activation(),
            CausalUpsampling(512, 256, 4, stride=2, groups=4), *units(256), Activation(),
            CausalUpsampling(256, 128, 4, stride=2, groups=2), *units(128), Activation(),
            CausalUpsampling(128, 64, 10, stride=5), *units(64), Activation(),
            CausalUpsampling(64, 1, 64, stride=16),
        )  # fmt: skip

    def encode(self, audio: Tensor, quantizers: int) -> Tensor:
        """Codes [B, quantizers, T / 320] of `audio` [B, T]: each codebook codes what the ones before it left."""
        rest = self.encoder(audio[:, None]).mT  # [B, N, 64]
        codes = []
        for book in self.books[:quantizers]:
            codes.append((rest[..., None, :] - book).square().sum(-1).argmin(-1))
            rest = rest - F.embedding(codes[-1], book)
        return torch.stack(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Audio [B, N * 320] of `codes` [B, K, N]."""
        features = sum(F.embedding(row, book) for row, book in zip(codes.unbind(1), self.books, strict=False))
        assert isinstance(features, Tensor)
        return self.decoder(features.mT)[:, 0]

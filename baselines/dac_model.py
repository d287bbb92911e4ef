"""Parts of DAC (Kumar et al., 2023, arXiv 2306.06546) that other codecs took over: its convolutional encoder and
decoder, and codebooks of few dimensions whose entry in the nearest direction is taken. Weight normalisation is folded.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DILATIONS = (1, 3, 9)
Activation = Callable[[int], nn.Module]
"""Makes an activation for so many channels."""


class Snake(nn.Module):
    """x + sin(ax)² / a: [B, C, T] to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.alpha + 1e-9).reciprocal() * (self.alpha * x).sin().square()


def encoder(
    width: int, strides: Sequence[int], latents: int, activation: Activation, middle: Activation | None = None
) -> nn.Sequential:
    """The encoder: [B, 1, T] to [B, latents, T / product of strides].

    Args:
        width: Channels of the first stage; each further one doubles them.
        strides: Of the stages.
        latents: Channels at the end.
        activation: Makes one for so many channels.
        middle: Makes a layer that stands after the last stage.

    Returns:
        A module.
    """
    layers: list[nn.Module] = [nn.Conv1d(1, width, 7, padding=3)]
    for stride in strides:
        down = nn.Conv1d(width, 2 * width, 2 * stride, stride, padding=edge(stride))
        layers.append(Stage(*units(width, activation), activation(width), down))
        width *= 2
    layers += [middle(width)] if middle else []
    return nn.Sequential(*layers, activation(width), nn.Conv1d(width, latents, 3, padding=1))


def decoder(
    latents: int, width: int, strides: Sequence[int], activation: Activation, middle: Activation | None = None,
    whole: bool = False,
) -> nn.Sequential:  # fmt: skip
    """The decoder: [B, latents, N] to [B, 1, N * product of strides].

    Args:
        latents: Channels at the beginning.
        width: Channels of the first stage; each further one halves them.
        strides: Of the stages.
        activation: Makes one for so many channels.
        middle: Makes a layer that stands before the first stage.
        whole: Whether no sample is lost where a stride is odd.

    Returns:
        A module.
    """
    layers: list[nn.Module] = [nn.Conv1d(latents, width, 7, padding=3), *([middle(width)] if middle else [])]
    for stride in strides:
        more = stride % 2 if whole else 0
        up = nn.ConvTranspose1d(width, width // 2, 2 * stride, stride, padding=edge(stride), output_padding=more)
        layers.append(Stage(activation(width), up, *units(width // 2, activation)))
        width //= 2
    return nn.Sequential(*layers, activation(width), nn.Conv1d(width, 1, 7, padding=3), nn.Tanh())


def edge(stride: int) -> int:
    """Zeros on each side of what a convolution of that stride, and twice the kernel, gets."""
    return stride // 2 + stride % 2


class Stage(nn.Module):
    """Layers one after another."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Unit(Stage):
    """Residual unit with a dilated convolution."""

    def __init__(self, width: int, dilation: int, activation: Activation) -> None:
        wide = nn.Conv1d(width, width, 7, dilation=dilation, padding=3 * dilation)
        super().__init__(activation(width), wide, activation(width), nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


def units(width: int, activation: Activation) -> list[nn.Module]:
    """The residual units of a stage.

    Args:
        width: Channels.
        activation: Makes one for so many channels.

    Returns:
        One for each dilation.
    """
    return [Unit(width, dilation, activation) for dilation in DILATIONS]


class Codebook(nn.Module):
    """One codebook of few dimensions, between two linear layers."""

    def __init__(self, width: int, entries: int, dimension: int) -> None:
        super().__init__()
        self.in_proj = nn.Conv1d(width, dimension, 1)
        self.out_proj = nn.Conv1d(dimension, width, 1)
        self.codebook = nn.Embedding(entries, dimension)

    def encode(self, latents: Tensor) -> Tensor:
        """Tokens [B, N] of latents [B, width, N]: the entries in the nearest direction."""
        vectors = self.in_proj(latents).mT
        # Term for term as upstream, so that near ties fall the same way.
        flat, entries = F.normalize(vectors.flatten(0, 1)), F.normalize(self.codebook.weight)
        distance = flat.square().sum(1, keepdim=True) - 2 * flat @ entries.T + entries.square().sum(1)
        return distance.argmin(-1).view(vectors.shape[:-1])

    def decode(self, tokens: Tensor) -> Tensor:
        """Latents [B, width, N] of tokens [B, N]: of the entries as they are, not of their directions."""
        return self.out_proj(self.codebook(tokens).mT)


class Codebooks(nn.Module):
    """Codebooks one after another, each for what the ones before it left."""

    def __init__(self, count: int, width: int, entries: int, dimension: int) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(Codebook(width, entries, dimension) for _ in range(count))

    def encode(self, latents: Tensor, count: int) -> Tensor:
        """Tokens [B, count, N] of latents [B, width, N]."""
        tokens = []
        for codebook in self._first(count):
            tokens.append(codebook.encode(latents))
            latents = latents - codebook.decode(tokens[-1])
        return torch.stack(tokens, 1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Latents [B, width, N] of tokens [B, K, N]."""
        books = self._first(tokens.shape[1])
        return torch.stack([book.decode(row) for book, row in zip(books, tokens.unbind(1), strict=True)]).sum(0)

    def _first(self, count: int) -> list[Codebook]:
        return [codebook for codebook in self.quantizers if isinstance(codebook, Codebook)][:count]

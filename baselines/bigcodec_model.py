"""The network of BigCodec (Xin et al., 2024, arXiv 2409.05377), from audio to one token a frame and back.

DAC's convolutions, wider, with LSTM layers in the middle. Each activation works at twice the rate, between two low-pass
filters. Upstream: Aria-K-Alethia/BigCodec at 09845ab1, vq/*.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dac_model import Codebook, decoder, encoder

STRIDES = (2, 2, 2, 5, 5)
"""Of the encoder; the decoder's are the same, backwards."""
TAPS = 12
"""Of the filters around an activation."""


@dataclass(frozen=True)
class Shape:
    """What differs between models: the widths."""

    filters: int
    """Of the encoder's first layer; each stride doubles them."""
    latents: int
    initial: int
    """Channels of the decoder's first layer; each stride halves them."""
    codebook: int
    dimension: int
    """Of a codebook's entries."""

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Shape":
        """The shape of the model whose tensors (named as in `BigCodec`) these are.

        Raises:
            KeyError: they are of no such model.
        """
        codebook, dimension = tensors["quantizer.codebook.weight"].shape
        first, last = tensors["encoder.0.weight"], tensors["decoder.0.weight"]
        return cls(len(first), last.shape[1], len(last), codebook, dimension)


PUBLISHED = Shape(filters=48, latents=1024, initial=1536, codebook=8192, dimension=8)


class BigCodec(nn.Module):
    """Audio [B, T] at 16 kHz, T of whole hops, to tokens [B, T / 200], and tokens to audio."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = encoder(shape.filters, STRIDES, shape.latents, SmoothSnake, Recurrent)
        self.quantizer = Codebook(shape.latents, shape.codebook, shape.dimension)
        self.decoder = decoder(shape.latents, shape.initial, STRIDES[::-1], SmoothSnake, Recurrent, whole=True)

    def encode(self, audio: Tensor) -> Tensor:
        """Tokens [B, T / 200] of `audio` [B, T]."""
        return self.quantizer.encode(self.encoder(audio[:, None]))

    def decode(self, tokens: Tensor) -> Tensor:
        """Audio [B, N * 200] of `tokens` [B, N]."""
        return self.decoder(self.quantizer.decode(tokens))[:, 0]


class Recurrent(nn.Module):
    """Two LSTM layers over time, added to their input [B, C, N]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.lstm(x.mT)[0].mT


class SmoothSnake(nn.Module):
    """x + sin(ax)² / b, with both as exponents, at twice the rate: [B, C, T] to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        batch, width, length = x.shape
        taps = lowpass(x.device)[None, None]
        # Every channel meets the same filter: as items of a batch, which is faster than as groups.
        rows = F.pad(x.reshape(-1, 1, length), (5, 5), mode="replicate")
        fine = 2 * F.conv_transpose1d(rows, taps, stride=2)[..., 15:-15].reshape(batch, width, 2 * length)
        alpha, beta = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        fine = fine + 1 / (beta + 1e-9) * (fine * alpha).sin().square()
        rows = F.pad(fine.reshape(-1, 1, 2 * length), (5, 6), mode="replicate")
        return F.conv1d(rows, taps, stride=2).view(batch, width, length)


def lowpass(device: torch.device) -> Tensor:
    """The filter [12] of half the band: a sinc in a Kaiser window, whose shape follows from its transition band."""
    attenuation = 2.285 * (TAPS // 2 - 1) * pi * (4 * 0.3) + 7.95
    time = torch.arange(-TAPS // 2, TAPS // 2) + 0.5
    window = torch.kaiser_window(TAPS, periodic=False, beta=0.1102 * (attenuation - 8.7))
    taps = window * torch.sinc(time / 2)
    return (taps / taps.sum()).to(device)

"""The network of SpeechTokenizer (Zhang et al., 2023, arXiv 2308.16692): EnCodec's convolutions, LSTM layers that look
both ways in the encoder, and a residual quantiser whose first codebook was taught by HuBERT.

Upstream: ZhangXInFD/SpeechTokenizer at 30c96fb3, speechtokenizer/model.py. Weight normalisation is folded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import seanet_model as seanet

FIXED = {
    "bidirectional": True, "residual_kernel_size": 3, "n_residual_layers": 1, "lstm_layers": 2, "activation": "ELU",
}  # fmt: skip
"""Options that have to be this. The base of dilations does not matter with one layer."""


@dataclass(frozen=True)
class Shape:
    """What differs between models."""

    filters: int
    """Of the encoder's first layer, and the decoder's last; each stride doubles them."""
    strides: tuple[int, ...]
    """Of the decoder; the encoder's are the same, backwards."""
    dimension: int
    codebook: int
    quantizers: int

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(self.strides)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """The shape that a `config.json` describes.

        Raises:
            KeyError: it leaves something out.
            ValueError: it asks for what is not implemented here.
        """
        if wrong := {key: config[key] for key, value in FIXED.items() if config[key] != value}:
            raise ValueError(f"options that are not implemented: {wrong}")
        return cls(
            config["n_filters"], tuple(config["strides"]), config["dimension"], config["codebook_size"], config["n_q"]
        )


class SpeechTokenizer(nn.Module):
    """Audio [B, T] at 16 kHz to tokens [B, K, ceil(T / hop)], and tokens to audio."""

    books: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = seanet.encoder(shape.filters, shape.strides[::-1], shape.dimension, bidirectional=True)
        self.register_buffer("books", torch.zeros(shape.quantizers, shape.codebook, shape.dimension))
        self.decoder = seanet.decoder(shape.filters, shape.strides, shape.dimension)

    def encode(self, audio: Tensor, quantizers: int) -> Tensor:
        """Tokens [B, quantizers, N] of `audio` [B, T]: each codebook codes what the ones before it left."""
        rest = self.encoder(audio[:, None]).mT
        tokens = []
        for book in self.books[:quantizers]:
            flat = rest.reshape(-1, rest.shape[-1])
            # Term for term as upstream, so that near ties fall the same way.
            distance = flat.square().sum(1, keepdim=True) - 2 * flat @ book.T + book.T.square().sum(0)
            tokens.append(distance.argmin(-1).view(rest.shape[:-1]))
            rest = rest - F.embedding(tokens[-1], book)
        return torch.stack(tokens, 1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Audio [B, N * hop] of `tokens` [B, K, N]."""
        vectors = [F.embedding(row, book) for row, book in zip(tokens.unbind(1), self.books, strict=False)]
        return self.decoder(torch.stack(vectors).sum(0).mT)[:, 0]

"""The network of DualCodec (Li et al., 2025, arXiv 2505.13000): a first codebook for what a speech model hears, further
ones for what DAC's encoder hears beyond that.

Upstream: jiaqili3/DualCodec at 5e807645, dualcodec/model_codec/*.py. Tensors have upstream's names; weight
normalisation is folded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dac_model import Codebooks, Snake, decoder, encoder


@dataclass(frozen=True)
class Shape:
    """What differs between the models."""

    speech: int
    """Channels of the speech model's features."""
    filters: int
    """Of the encoder's first layer; each stride doubles them."""
    strides: tuple[int, ...]
    latents: int
    initial: int
    """Channels of the decoder's first layer; each stride halves them."""
    codebooks: int
    """After the first one."""
    entries: int
    semantic: int
    """Entries of the first codebook."""
    width: int
    """Of the layers around the first codebook."""
    inner: int
    layers: int
    dimension: int
    """Of the codebooks' entries."""

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(self.strides)

    @property
    def features(self) -> int:
        """Frames of the speech model, 20 ms each, that are one here."""
        return self.hop // 480

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Shape":
        """The shape of the model whose tensors (named as in `DualCodec`) these are.

        Raises:
            KeyError: they are of no such model.
        """
        stages = takewhile(lambda i: f"dac.encoder.{i}.block.4.weight" in tensors, count(1))
        strides = tuple(tensors[f"dac.encoder.{i}.block.4.weight"].shape[2] // 2 for i in stages)
        books = sum(name.startswith("dac.quantizer.") and name.endswith(".codebook.weight") for name in tensors)
        layers = sum(name.startswith("convnext_encoder.") and name.endswith(".dwconv.weight") for name in tensors)
        entries, dimension = tensors["dac.quantizer.quantizers.0.codebook.weight"].shape
        last, inner = tensors["dac.decoder.0.weight"], tensors["convnext_encoder.1.pwconv1.weight"]
        return cls(
            tensors["convnext_encoder.0.weight"].shape[1], len(tensors["dac.encoder.0.weight"]), strides,
            last.shape[1], len(last), books, entries, len(tensors["semantic_vq.quantizers.0.codebook.weight"]),
            inner.shape[1], len(inner), layers, dimension,
        )  # fmt: skip


PUBLISHED = {
    "12hz": Shape(1024, 32, (4, 5, 6, 8, 2), 1024, 1536, 7, 4096, 16_384, 768, 2048, 4, 8),
    "25hz": Shape(1024, 64, (4, 5, 6, 8), 1024, 1536, 11, 1024, 16_384, 768, 2048, 4, 8),
}


class DualCodec(nn.Module):
    """Audio and a speech model's features to tokens [B, K, N], and tokens to audio."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.convnext_encoder = nn.Sequential(nn.Conv1d(shape.speech, shape.width, 1), *blocks(shape))
        self.semantic_vq = Codebooks(1, shape.width, shape.semantic, shape.dimension)
        self.convnext_decoder = nn.Sequential(*blocks(shape), nn.Conv1d(shape.width, shape.latents, 1))
        self.dac = nn.ModuleDict(
            {
                "encoder": encoder(shape.filters, shape.strides, shape.latents, Snake),
                "quantizer": Codebooks(shape.codebooks, shape.latents, shape.entries, shape.dimension),
                "decoder": decoder(shape.latents, shape.initial, shape.strides[::-1], Snake),
            }
        )

    def encode(self, audio: Tensor, features: Tensor, codebooks: int) -> Tensor:
        """Tokens [B, codebooks, N].

        Args:
            audio: [B, T] at 24 kHz, T of whole hops.
            features: [B, M, `shape.speech`] of the speech model, normalised, 50 a second; N = floor(M /
                `shape.features`).
            codebooks: how many, the first one among them.
        """
        pooled = F.avg_pool1d(features.mT, self.shape.features)
        first = self.semantic_vq.encode(self.convnext_encoder(pooled), 1)
        if codebooks == 1:
            return first
        known = self.convnext_decoder(self.semantic_vq.decode(first))
        latents = self.dac["encoder"](audio[:, None])[..., : known.shape[-1]]
        quantizer = self.dac["quantizer"]
        assert isinstance(quantizer, Codebooks)
        return torch.cat([first, quantizer.encode(latents - known, codebooks - 1)], 1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Audio [B, T] of `tokens` [B, K, N], a few samples less than N hops."""
        latents = self.convnext_decoder(self.semantic_vq.decode(tokens[:, :1]))
        quantizer = self.dac["quantizer"]
        assert isinstance(quantizer, Codebooks)
        if tokens.shape[1] > 1:
            latents = latents + quantizer.decode(tokens[:, 1:])
        return self.dac["decoder"](latents)[:, 0]


def blocks(shape: Shape) -> list[nn.Module]:
    """The ConvNeXt blocks on one side of the first codebook."""
    return [Block(shape.width, shape.inner) for _ in range(shape.layers)]


class Block(nn.Module):
    """ConvNeXt block that sees the past: [B, C, N] to the same."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, inner)
        self.pwconv2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.norm(self.dwconv(F.pad(x, (6, 0))).mT)
        return x + self.pwconv2(F.gelu(self.pwconv1(frames))).mT

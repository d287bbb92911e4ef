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

from . import seanet_model as seanet
from .vocos_model import EPSILON, ConvNeXtBlock, Head

GROUPS = 32


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
        """Samples of a frame."""
        return prod(self.strides)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Shape":
        """The shape that tensors have.

        Args:
            tensors: Named as in `WavTokenizer`.

        Returns:
            The shape.

        Raises:
            KeyError: They are of no such model.
            IndexError: Likewise.
            ValueError: Likewise.
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


PUBLISHED = Shape((2, 4, 5, 8), 32, 4096, 512, 768, 2304, 12, 1280)
"""At 75 tokens/s."""


class WavTokenizer(nn.Module):
    """Audio [B, T] at 24 kHz to tokens [B, N] with N = ceil(T / hop), and tokens to audio [B, N * hop]."""

    codebook: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = seanet.encoder(shape.filters, shape.strides, shape.dimension)
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
    """Normalisation over groups of channels, as the model has it everywhere.

    Args:
        width: Channels.

    Returns:
        A module.
    """
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

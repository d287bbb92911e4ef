"""The network of FocalCodec (Della Libera et al., 2025, arXiv 2502.04465): audio to one binary token a frame and back.

Encoder: the lower layers of WavLM, whose convolutions normalise each frame: the level of the audio is not coded.
Compressor and decompressor: focal modulation, in which each frame is scaled by what short windows and the whole
utterance say of it. Decoder: Vocos. Upstream: lucadellalib/focalcodec at 912b7f2c, focalcodec/*.py; the causal models'
parts are not here. Tensors have upstream's names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .vocos_model import EPSILON, ConvNeXtBlock, Head

PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "encoder": (
        "WavLM",
        {
            "hidden_dims": (512,) * 7, "kernel_sizes": (10, 3, 3, 3, 3, 2, 2), "strides": (5, 2, 2, 2, 2, 2, 2),
            "num_layers": 6, "dim": 1024, "ffn_dim": 4096, "num_heads": 16, "num_buckets": 320, "max_distance": 800,
            "conv_pos": 128, "conv_pos_groups": 16,
        },
    ),
    "compressor": (
        "FocalEncoder",
        {
            "input_dim": 1024, "output_dim": 12, "hidden_dims": (1024,) * 3, "downscale_factors": (1, 1, 1),
            "focal_window": 14, "focal_level": 2, "focal_factor": 4,
        },
    ),
    "quantizer": ("BinarySphericalQuantizer", {"codebook_size": 4096}),
    "decompressor": (
        "FocalDecoder",
        {
            "input_dim": 12, "output_dim": 1024, "hidden_dims": (1024,) * 3, "upscale_factors": (1, 1, 1),
            "focal_window": 14, "focal_level": 2, "focal_factor": 4,
        },
    ),
    "decoder": (
        "Vocos",
        {"input_dim": 1024, "num_layers": 8, "dim": 512, "ffn_dim": 1536, "n_fft": 1024, "hop_length": 320},
    ),
}  # fmt: skip
"""By part, upstream's name of what is implemented here, and upstream's defaults of its options."""
FIXED = {
    "causal": False, "use_post_norm": False, "use_layerscale": False, "normalize_modulator": False, "kernel_size": 7,
    "dropout": 0.0, "use_flex_attention": False,
}  # fmt: skip
"""Options that have to be this."""
UNUSED = {
    "layerscale_init", "tanhscale_init", "window_size", "last_window_size", "lookahead_size", "max_cached_steps",
    "input_channels", "padding",
}  # fmt: skip
"""Options that initialise, belong to causal models, or are no longer used upstream."""


@dataclass(frozen=True)
class Shape:
    """The options of each part."""

    encoder: Mapping[str, Any]
    compressor: Mapping[str, Any]
    quantizer: Mapping[str, Any]
    decompressor: Mapping[str, Any]
    decoder: Mapping[str, Any]

    @property
    def hop(self) -> int:
        """Samples of a token."""
        return prod(self.encoder["strides"]) * prod(self.compressor["downscale_factors"])

    @property
    def bits(self) -> int:
        """Of a token: a power of two many there are."""
        return int(self.quantizer["codebook_size"]).bit_length() - 1

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """The shape that a `config.json` describes.

        Raises:
            ValueError: it asks for what is not implemented here.
        """
        parts = {}
        for part, (kind, defaults) in PARTS.items():
            if (found := config.get(f"{part}_name", "WaveNeXt" if part == "decoder" else kind)) != kind:
                raise ValueError(f"a {part} {found} where {kind} is implemented")
            options = {key: value for key, value in config.get(f"{part}_config", {}).items() if key not in UNUSED}
            wrong = {key: value for key, value in options.items() if key not in defaults and FIXED.get(key) != value}
            if wrong:
                raise ValueError(f"options of the {part} that are not implemented: {wrong}")
            parts[part] = defaults | {key: value for key, value in options.items() if key in defaults}
        return cls(**parts)


class FocalCodec(nn.Module):
    """Audio [B, T] at 16 kHz to tokens [B, N], and tokens to audio."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = WavLM(shape.encoder)
        self.compressor = Compressor(shape.compressor)
        self.decompressor = Decompressor(shape.decompressor)
        self.decoder = Vocos(shape.decoder)

    def encode(self, audio: Tensor) -> Tensor:
        """Tokens [B, N]: the signs of the latents, the first of them the highest bit."""
        signs = self.compressor(self.encoder(audio)) > 0
        return (signs * self._powers(audio)).sum(-1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Audio [B, N * hop] of tokens [B, N]."""
        signs = tokens[..., None] // self._powers(tokens) % 2 * 2 - 1
        return self.decoder(self.decompressor(signs / self.shape.bits**0.5))

    def _powers(self, like: Tensor) -> Tensor:
        return 2 ** torch.arange(self.shape.bits - 1, -1, -1, device=like.device)


class WavLM(nn.Module):
    """[B, T] to [B, N, dim]; T of less than a window is filled up with zeros."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        dims, width = options["hidden_dims"], options["dim"]
        sizes = zip((1, *dims), dims, options["kernel_sizes"], options["strides"], strict=False)
        self.feature_extractor = nn.ModuleDict({"layers": nn.Sequential(*(ConvBlock(*size) for size in sizes))})
        self.norm = nn.LayerNorm(dims[-1])
        self.feature_proj = nn.Linear(dims[-1], width)
        self.encoder = Transformer(options)

    def forward(self, audio: Tensor) -> Tensor:
        features = self.feature_extractor["layers"](audio[:, None]).mT
        return self.encoder(self.feature_proj(self.norm(features)))


class ConvBlock(nn.Module):
    """Convolution, norm over channels and GELU: [B, C, T] to [B, C', T'], T' of one at least."""

    def __init__(self, width: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, out, kernel, stride, bias=False)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, max(0, self.conv.kernel_size[0] - x.shape[-1])))
        return F.gelu(self.norm(self.conv(x).mT)).mT


class Transformer(nn.Module):
    """Layers [B, N, dim] to the same. Attention is biased by distance, in buckets, as far as a frame opens a gate."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        width, kernel = options["dim"], options["conv_pos"]
        self.buckets, self.reach = options["num_buckets"] // 2, options["max_distance"]
        conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=options["conv_pos_groups"])
        self.positional_embedding = nn.ModuleDict({"conv": conv})
        self.relative_embedding = nn.Embedding(options["num_buckets"], options["num_heads"])
        layers = (Layer(width, options["ffn_dim"], options["num_heads"]) for _ in range(options["num_layers"]))
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x + F.gelu(self.positional_embedding["conv"](x.mT)[..., : x.shape[1]]).mT
        bias = self.relative_embedding(self._bucket(x.shape[1], x.device)).permute(2, 0, 1)
        for layer in self.layers:
            x = layer(x, bias)
        return x

    def _bucket(self, length: int, device: torch.device) -> Tensor:
        """Bucket [N, N] of each distance: exact up to half of the buckets, then by its logarithm; the upper half of all
        buckets is for what lies ahead."""
        place = torch.arange(length)
        distance = place - place[:, None]
        exact = self.buckets // 2
        far = (distance.abs().float() / exact).log() / log(self.reach / exact) * (self.buckets - exact) + exact
        rounded = far.clamp(min=0, max=self.buckets - 1).long()
        bucket = torch.where(distance.abs() < exact, distance.abs(), rounded)
        return (bucket + (distance > 0) * self.buckets).to(device)


class Layer(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and added to its input."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, inner)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), bias)
        return x + self.feed_forward(self.feed_forward_norm(x))


class FeedForward(nn.Module):
    """Two linear layers and GELU."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(F.gelu(self.in_proj(x)))


class Attention(nn.Module):
    """Attention over all frames, with WavLM's gated bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.gru_rel_pos_linear = nn.Linear(width // heads, 8)
        self.gru_rel_pos_const = nn.Parameter(torch.empty(1, heads, 1, 1))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv_proj(x).chunk(3, -1))
        heads = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        gates = self.gru_rel_pos_linear(heads).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        first, second = gates.chunk(2, -1)
        gate = first * (second * self.gru_rel_pos_const - 1) + 2
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=gate * bias)
        return self.out_proj(seen.transpose(1, 2).flatten(2))


class Modulation(nn.Module):
    """Focal modulation [B, N, width]: each frame times what its neighbourhoods, and the whole, say of it."""

    def __init__(self, width: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.levels = options["focal_level"]
        kernels = (options["focal_factor"] * level + options["focal_window"] for level in range(self.levels))
        self.in_proj = nn.Linear(width, 2 * width + self.levels + 1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, width, kernel, padding="same", groups=width), nn.GELU())
            for kernel in kernels
        )
        self.context_proj = nn.Conv1d(width, width, 1)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[-1]
        query, context, gates = self.in_proj(x).mT.split([width, width, self.levels + 1], 1)
        gathered = torch.zeros_like(query)
        for level, layer in enumerate(self.layers):
            context = layer(context)
            gathered = gathered + context * gates[:, level : level + 1]
        gathered = gathered + F.gelu(context.mean(-1, keepdim=True)) * gates[:, self.levels :]
        return self.out_proj((query * self.context_proj(gathered)).mT)


class FocalBlock(nn.Module):
    """Focal modulation and a feed-forward layer, each behind a norm and added to its input."""

    def __init__(self, width: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.modulation_norm = nn.LayerNorm(width)
        self.modulation = Modulation(width, options)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.modulation(self.modulation_norm(x))
        return x + self.feed_forward(self.feed_forward_norm(x))


class Snake(nn.Module):
    """x + sin(ax)² / a, for channels in the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        alpha = self.alpha[:, 0]
        return x + (alpha + 1e-9).reciprocal() * (alpha * x).sin().square()


class Downscale(nn.Module):
    """[B, N, C] to [B, ceil(N / factor), C']."""

    def __init__(self, width: int, out: int, factor: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.factor = factor
        self.downscale = nn.ModuleDict({"downscale": nn.Conv1d(width, out, factor, factor), "activation": Snake(out)})
        self.focal_block = FocalBlock(out, options)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x.mT, (0, (x.shape[1] - self.factor) % self.factor))
        return self.focal_block(self.downscale["activation"](self.downscale["downscale"](x).mT))


class Upscale(nn.Module):
    """[B, N, C] to [B, N * factor, C']."""

    def __init__(self, width: int, out: int, factor: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.focal_block = FocalBlock(width, options)
        layers = {"activation": Snake(width), "upscale": nn.ConvTranspose1d(width, out, factor, factor)}
        self.upscale = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.upscale["upscale"](self.upscale["activation"](self.focal_block(x)).mT).mT


class Compressor(nn.Module):
    """Features [B, N, input_dim] to latents [B, N', output_dim]."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        dims: Sequence[int] = (options["input_dim"], *options["hidden_dims"])
        factors = options["downscale_factors"]
        stages = zip(dims, dims[1:], factors, strict=False)
        self.layers = nn.Sequential(*(Downscale(width, out, factor, options) for width, out, factor in stages))
        self.out_proj = nn.Linear(dims[-1], options["output_dim"])

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(self.layers(x))


class Decompressor(nn.Module):
    """Codes [B, N', input_dim] to features [B, N, output_dim]."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        dims: Sequence[int] = (*options["hidden_dims"], options["output_dim"])
        self.in_proj = nn.Linear(options["input_dim"], dims[0])
        stages = zip(dims, dims[1:], options["upscale_factors"], strict=False)
        self.layers = nn.Sequential(*(Upscale(width, out, factor, options) for width, out, factor in stages))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.in_proj(x))


class Vocos(nn.Module):
    """Features [B, N, input_dim] to audio [B, N * hop]."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        width = options["dim"]
        self.backbone = nn.ModuleDict(
            {
                "embedding": nn.Conv1d(options["input_dim"], width, 7, padding="same"),
                "input_norm": nn.LayerNorm(width, EPSILON),
                "layers": nn.Sequential(
                    *(ConvNeXtBlock(width, options["ffn_dim"]) for _ in range(options["num_layers"]))
                ),
                "output_norm": nn.LayerNorm(width, EPSILON),
            }
        )
        self.head = Head(width, options["n_fft"], options["hop_length"])

    def forward(self, x: Tensor) -> Tensor:
        parts = self.backbone
        x = parts["layers"](parts["input_norm"](parts["embedding"](x.mT).mT).mT)
        return self.head(parts["output_norm"](x.mT))

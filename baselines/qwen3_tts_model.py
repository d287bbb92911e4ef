"""The decoder of Qwen3-TTS-Tokenizer-12Hz (Qwen team, 2026): sixteen tokens a frame to audio, causal throughout.

Sums of codebook vectors, a transformer whose frames see the 72 before them, two upsampling steps with ConvNeXt blocks,
and four that turn frames into samples, with SnakeBeta activations. Upstream: QwenLM/Qwen3-TTS at 022e286b,
qwen_tts/core/tokenizer_12hz/modeling_qwen3_tts_tokenizer_v2.py. Tensors have upstream's names, but for the codebooks,
which upstream keeps as sums and counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DILATIONS = (1, 3, 9)


@dataclass(frozen=True)
class Shape:
    """What the release's `decoder_config` says."""

    codebook_size: int
    num_quantizers: int
    codebook_dim: int
    latent_dim: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    sliding_window: int
    rope_theta: float
    rms_norm_eps: float
    decoder_dim: int
    upsampling_ratios: tuple[int, ...]
    upsample_rates: tuple[int, ...]

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(self.upsampling_ratios + self.upsample_rates)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """The shape that a `decoder_config` describes.

        Raises:
            KeyError: it leaves something out.
            ValueError: it asks for what is not implemented here.
        """
        fixed = {"attention_bias": False, "hidden_act": "silu", "num_key_value_heads": config["num_attention_heads"]}
        other = {key: config[key] for key, value in fixed.items() if config.get(key, value) != value}
        if other or config.get("rope_scaling"):
            raise ValueError(f"options that are not implemented: {other or config['rope_scaling']}")
        values: dict[str, Any] = {name: config[name] for name in cls.__dataclass_fields__}
        return cls(**values | {name: tuple(value) for name, value in values.items() if isinstance(value, list)})


class Decoder(nn.Module):
    """Tokens [B, K, N] to audio [B, N * hop] within full scale."""

    books: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        half, width = shape.codebook_dim // 2, shape.decoder_dim
        self.register_buffer("books", torch.zeros(shape.num_quantizers, shape.codebook_size, half))
        self.first = nn.Conv1d(half, shape.codebook_dim, 1, bias=False)
        self.rest = nn.Conv1d(half, shape.codebook_dim, 1, bias=False)
        self.pre_conv = CausalConv(shape.codebook_dim, shape.latent_dim, 3)
        self.pre_transformer = Transformer(shape)
        self.upsample = nn.ModuleList(
            nn.ModuleList([CausalUpsampling(shape.latent_dim, shape.latent_dim, ratio, ratio), Block(shape.latent_dim)])
            for ratio in shape.upsampling_ratios
        )
        layers: list[nn.Module] = [CausalConv(shape.latent_dim, width, 7)]
        for rate in shape.upsample_rates:
            layers.append(Stage(width, rate))
            width //= 2
        self.decoder = nn.Sequential(*layers, SnakeBeta(width), CausalConv(width, 1, 7))

    def forward(self, tokens: Tensor) -> Tensor:
        """Audio [B, N * hop] of tokens [B, K, N]."""
        vectors = [F.embedding(row, book).mT for row, book in zip(tokens.unbind(1), self.books, strict=True)]
        hidden = self.first(vectors[0]) + self.rest(torch.stack(vectors[1:]).sum(0))
        hidden = self.pre_transformer(self.pre_conv(hidden).mT).mT
        steps: Any = self.upsample
        for upsampling, block in steps:
            hidden = block(upsampling(hidden))
        return self.decoder(hidden)[:, 0].clamp(-1, 1)


class CausalConv(nn.Module):
    """Convolution that sees the past: [B, C, T] to [B, C', T]."""

    def __init__(self, width: int, out: int, kernel: int, dilation: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, out, kernel, dilation=dilation, groups=groups)
        self.past = (kernel - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.past, 0)))


class CausalUpsampling(nn.Module):
    """Transposed convolution that is cut where the past ends: [B, C, N] to [B, C', N * stride]."""

    def __init__(self, width: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(width, out, kernel, stride)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., : x.shape[-1] * self.stride]


class Block(nn.Module):
    """ConvNeXt block, causal."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = CausalConv(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.pwconv2(F.gelu(self.pwconv1(self.norm(self.dwconv(x).mT))))
        return x + (self.gamma * inner).mT


class SnakeBeta(nn.Module):
    """x + sin(ax)² / b, with both as exponents: [B, C, T] to [B, C, T]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(width))
        self.beta = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 / (self.beta.exp()[:, None] + 1e-9) * torch.sin(x * self.alpha.exp()[:, None]).square()


class Unit(nn.Module):
    """Residual unit with a dilated convolution."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.act1 = SnakeBeta(width)
        self.conv1 = CausalConv(width, width, 7, dilation)
        self.act2 = SnakeBeta(width)
        self.conv2 = CausalConv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.act2(self.conv1(self.act1(x))))


class Stage(nn.Module):
    """`rate` times as many steps with half the channels."""

    def __init__(self, width: int, rate: int) -> None:
        super().__init__()
        half = width // 2
        self.block = nn.Sequential(
            SnakeBeta(width), CausalUpsampling(width, half, 2 * rate, rate), *(Unit(half, d) for d in DILATIONS)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class Transformer(nn.Module):
    """Layers [B, N, latent] to [B, N, latent], in which a frame sees itself and `sliding_window` - 1 before."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.input_proj = nn.Linear(shape.latent_dim, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, shape.rms_norm_eps)
        self.output_proj = nn.Linear(shape.hidden_size, shape.latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x.shape[1], device=x.device)
        distance = place[:, None] - place
        mask = (distance >= 0) & (distance < self.shape.sliding_window)
        half = torch.arange(0, self.shape.head_dim, 2, device=x.device).float() / self.shape.head_dim
        angle = (place[:, None] / self.shape.rope_theta**half).repeat(1, 2)
        x = self.input_proj(x)
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin(), mask)
        return self.output_proj(self.norm(x))


class Layer(nn.Module):
    """Attention and a gated feed-forward layer, each behind a norm and scaled."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, inner = shape.hidden_size, shape.num_attention_heads * shape.head_dim
        self.head_dim = shape.head_dim
        self.input_layernorm = nn.RMSNorm(width, shape.rms_norm_eps)
        self.self_attn = nn.ModuleDict(
            {name: nn.Linear(width, inner, bias=False) for name in ("q_proj", "k_proj", "v_proj")}
            | {"o_proj": nn.Linear(inner, width, bias=False)}
        )
        self.self_attn_layer_scale = Scale(width)
        self.post_attention_layernorm = nn.RMSNorm(width, shape.rms_norm_eps)
        self.mlp = nn.ModuleDict(
            {name: nn.Linear(width, shape.intermediate_size, bias=False) for name in ("gate_proj", "up_proj")}
            | {"down_proj": nn.Linear(shape.intermediate_size, width, bias=False)}
        )
        self.mlp_layer_scale = Scale(width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        normed = self.input_layernorm(x)
        q, k, v = (
            self.self_attn[name](normed).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = x + self.self_attn_layer_scale(self.self_attn["o_proj"](seen))
        normed = self.post_attention_layernorm(x)
        inner = F.silu(self.mlp["gate_proj"](normed)) * self.mlp["up_proj"](normed)
        return x + self.mlp_layer_scale(self.mlp["down_proj"](inner))


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding: both halves turned by the angles of their place.

    Args:
        x: [..., N, D].
        cos: [N, D].
        sin: [N, D].

    Returns:
        [..., N, D].
    """
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin

"""The network of MOSS-Audio-Tokenizer (OpenMOSS, 2026): transformers alone, causal, on patches of 240 samples that are
folded in pairs until a frame holds 1920, and a residual quantiser of 32 codebooks with few dimensions.

Upstream: OpenMOSS/MOSS-Audio-Tokenizer at 56df9eeb, modeling_moss_audio_tokenizer.py. Weight normalisation is folded;
tensors have upstream's names otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dac_model import Codebooks

FIXED = {
    "causal": True, "gating": "none", "norm": "layer_norm", "positional_embedding": "rope", "conv_layout": True
}  # fmt: skip
"""Options of a transformer that have to be this."""


@dataclass(frozen=True)
class Stage:
    """A transformer between two linear layers."""

    width: int
    inner: int
    heads: int
    layers: int
    before: int
    """Channels that come in; no layer where it is the width."""
    after: int
    """Channels that go out."""
    period: float

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Stage":
        """The stage that one of upstream's lists of options describes.

        Args:
            options: By upstream's names.

        Returns:
            Its shape.

        Raises:
            ValueError: It asks for what is not implemented here.
        """
        if wrong := {key: options[key] for key, value in FIXED.items() if options.get(key, value) != value}:
            raise ValueError(f"options that are not implemented: {wrong}")
        names = (
            "d_model", "dim_feedforward", "num_heads", "num_layers", "input_dimension", "output_dimension", "max_period"
        )  # fmt: skip
        return cls(*(options[name] for name in names))


@dataclass(frozen=True)
class Shape:
    """What the release's `config.json` says: a number is a patch, which so many frames are folded into."""

    encoder: tuple[int | Stage, ...]
    decoder: tuple[int | Stage, ...]
    latents: int
    width: int
    """Of what the codebooks' vectors are added up in."""
    codebook: int
    dimension: int
    """Of a codebook's entries."""
    quantizers: int
    context: float
    """Seconds that attention reaches back."""
    sample_rate: int

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return prod(part for part in self.encoder if isinstance(part, int))

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """The shape that a `config.json` describes.

        Raises:
            KeyError: it leaves something out.
            ValueError: it asks for what is not implemented here.
        """
        sides = [
            tuple(
                part["patch_size"] if part["module_type"] == "PatchedPretransform" else Stage.of(part)
                for part in config[f"{side}_kwargs"]
            )
            for side in ("encoder", "decoder")
        ]
        quantizer = config["quantizer_kwargs"]
        if quantizer["quantizer_type"] != "rlfq" or quantizer["input_dim"] != quantizer["output_dim"]:
            raise ValueError(f"a quantiser that is not implemented: {quantizer}")
        names = ("input_dim", "rvq_dim", "codebook_size", "codebook_dim", "num_quantizers")
        numbers = [quantizer[name] for name in names]
        numbers += [config["causal_transformer_context_duration"], config["sampling_rate"]]
        return cls(sides[0], sides[1], *numbers)


class Moss(nn.Module):
    """Audio [B, T], T of whole hops, to tokens [B, K, T / hop], and tokens to audio."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        rate = float(shape.sample_rate)
        self.encoder = nn.ModuleList()
        for part in shape.encoder:
            self.encoder.append(Fold(part) if isinstance(part, int) else Transformer(part, int(rate * shape.context)))
            rate /= part if isinstance(part, int) else 1
        self.quantizer = Quantizer(shape)
        self.decoder = nn.ModuleList()
        for part in shape.decoder:
            self.decoder.append(Unfold(part) if isinstance(part, int) else Transformer(part, int(rate * shape.context)))
            rate *= part if isinstance(part, int) else 1

    def encode(self, audio: Tensor, quantizers: int) -> Tensor:
        """Tokens [B, quantizers, T / hop] of `audio` [B, T]."""
        return self.quantizer.encode(through(self.encoder, audio[..., None]), quantizers)

    def decode(self, tokens: Tensor) -> Tensor:
        """Audio [B, N * hop] of `tokens` [B, K, N]."""
        return through(self.decoder, self.quantizer.decode(tokens))[..., 0]


def through(parts: nn.ModuleList, x: Tensor) -> Tensor:
    """`x` [B, N, C] through one part after another."""
    for part in parts:
        x = part(x)
    return x


class Fold(nn.Module):
    """[B, N, C] to [B, N / size, C * size]: the neighbours of a channel stand together."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.size)).mT.flatten(2)


class Unfold(nn.Module):
    """[B, N, C] to [B, N * size, C / size]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (-1, self.size)).mT.flatten(1, 2)


class Transformer(nn.Module):
    """[B, N, before] to [B, N, after]; a frame sees itself and `context` - 1 before it."""

    def __init__(self, stage: Stage, context: int) -> None:
        super().__init__()
        self.stage, self.context = stage, context
        self.input_proj = linear(stage.before, stage.width)
        self.transformer = nn.ModuleDict({"layers": nn.ModuleList(Layer(stage) for _ in range(stage.layers))})
        self.output_proj = linear(stage.width, stage.after)

    def forward(self, x: Tensor) -> Tensor:
        half = self.stage.width // self.stage.heads // 2
        place = torch.arange(x.shape[1], dtype=torch.float32, device=x.device)
        distance = place[:, None] - place
        mask = (distance >= 0) & (distance < self.context)
        steps = torch.arange(half, dtype=torch.float32, device=x.device)
        angle = (steps * (-log(self.stage.period) / half)).exp() * place[:, None]
        x = self.input_proj(x)
        layers: Any = self.transformer["layers"]
        for layer in layers:
            x = layer(x, angle.cos(), angle.sin(), mask)
        return self.output_proj(x)


def linear(before: int, after: int) -> nn.Module:
    """A linear layer without bias, where there is anything for it to do."""
    return nn.Identity() if before == after else nn.Linear(before, after, bias=False)


class Layer(nn.Module):
    """Attention and a feed-forward layer, each behind a norm, scaled, and added to its input."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        width = stage.width
        self.heads = stage.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn = nn.ModuleDict(
            {
                "in_projs": nn.ModuleList([nn.Linear(width, 3 * width, bias=False)]),
                "out_projs": nn.ModuleList([nn.Linear(width, width, bias=False)]),
            }
        )
        self.linear1 = nn.Linear(width, stage.inner, bias=False)
        self.linear2 = nn.Linear(stage.inner, width, bias=False)
        self.layer_scale_1, self.layer_scale_2 = (
            nn.ParameterDict({"scale": nn.Parameter(torch.zeros(width))}) for _ in range(2)
        )

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        attention: Any = self.self_attn
        into, out = attention["in_projs"][0], attention["out_projs"][0]
        parts = into(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = turn(parts[0], cos, sin), turn(parts[1], cos, sin), parts[2]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = x + self.layer_scale_1["scale"] * out(seen)
        return x + self.layer_scale_2["scale"] * self.linear2(F.gelu(self.linear1(self.norm2(x))))


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding: each pair of neighbours turned by the angle of its place.

    Args:
        x: [..., N, D].
        cos: [N, D / 2].
        sin: [N, D / 2].

    Returns:
        [..., N, D].
    """
    first, second = x[..., ::2], x[..., 1::2]
    return torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2)


class Quantizer(Codebooks):
    """Codebooks between two linear layers of their own: tokens [B, K, N] of latents [B, N, D], and back."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape.quantizers, shape.width, shape.codebook, shape.dimension)
        self.input_proj = nn.Conv1d(shape.latents, shape.width, 1)
        self.output_proj = nn.Conv1d(shape.width, shape.latents, 1)

    def encode(self, latents: Tensor, count: int) -> Tensor:
        return super().encode(self.input_proj(latents.mT), count)

    def decode(self, tokens: Tensor) -> Tensor:
        return self.output_proj(super().decode(tokens)).mT

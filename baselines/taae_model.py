"""The network of TAAE, or Stable Codec (Parker et al., 2024, arXiv 2411.19842): audio to a few tokens a frame and back.

The samples of a patch are the channels of a sequence. Encoder: convolutions that shorten it, each before a stack of
transformer blocks whose attention sees a window of the sequence; decoder: the same the other way round. The latents
between them are rounded to levels, once or to ever finer ones. Upstream: Stability-AI/stable-audio-tools at 50049e3,
models/autoencoders.py, models/transformer.py, models/pretransforms.py; Stability-AI/stable-codec at 8535544,
stable_codec/fsq.py, stable_codec/residual_fsq.py.

Upstream has the window from the package flash-attn, on a GPU and in half precision, and attends to everything without
it. Here it is kept everywhere, in float32. Weight normalisation and the scales of the blocks' branches are folded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD = 128
"""Width of an attention head."""
BASE = 10_000.0
"""Of the rotary positions, which turn the first half of a head."""
EPSILON, HEAD_EPSILON = 1e-2, 1e-6
"""Of the norms before the branches, and of those of queries and keys."""
QUERIES = 512
"""Attended at a time: memory grows with the length, not with its square."""


@dataclass(frozen=True)
class Side:
    """Encoder or decoder; its stages are counted from the audio inwards."""

    widths: tuple[int, ...]
    """Of the first convolution, then behind each stage."""
    strides: tuple[int, ...]
    depths: tuple[int, ...]
    """Transformer blocks of each stage."""
    window: tuple[int, int]
    """Places to the left and right that attention sees beside its own; -1 for all."""
    snake: bool = False
    """Whether a learned activation stands before the convolutions that change the length."""

    @classmethod
    def of(cls, config: Mapping[str, Any], channels: int, latents: int) -> "Side":
        """The encoder or decoder of upstream's `model_config.json`.

        Args:
            config: Of that side.
            channels: Of what goes in or comes out.
            latents: Channels between the two sides.

        Returns:
            Its shape.

        Raises:
            KeyError: Something is left out.
            TypeError: Something is of another kind.
            ValueError: It asks for what is not implemented here.
        """
        if config["type"] != "taae":
            raise ValueError(f"a part of type {config['type']!r}, not 'taae'")
        options = dict(config["config"])
        for name in ("checkpointing", "layer_scale"):  # the one is for training, the tensors say the other
            options.pop(name, None)
        multiples = options.pop("c_mults")
        width = options.pop("channels")
        side = cls(
            tuple(width * factor for factor in (multiples[0], *multiples)),
            tuple(options.pop("strides")),
            tuple(options.pop("transformer_depths")),
            tuple(options.pop("sliding_window", (63, 64)) or (-1, -1)),
            options.pop("use_snake", False),
        )
        ends = {"in_channels": channels, "out_channels": channels, "latent_dim": latents}
        if unknown := {name: value for name, value in options.items() if value and value != ends.get(name)}:
            raise ValueError(f"options that are not implemented: {unknown}")
        if not len(side.widths) - 1 == len(side.strides) == len(side.depths):
            raise ValueError(f"{len(side.widths) - 1}, {len(side.strides)} and {len(side.depths)} stages")
        for stride, outer, inner in zip(side.strides, side.widths, side.widths[1:], strict=False):
            if (stride == 1 and outer != inner) or (stride > 1 and stride % 2) or outer % min(outer, HEAD):
                raise ValueError(f"a stage of stride {stride} from width {outer} to {inner}")
        return side


@dataclass(frozen=True)
class Shape:
    """What differs between models."""

    patch: int
    """Samples that are one place of the sequence."""
    latents: int
    encoder: Side
    decoder: Side
    clip: bool = False
    """Whether the decoded samples go through tanh."""

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return self.patch * prod(self.encoder.strides)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """The shape that upstream's `model_config.json` describes.

        Args:
            config: What it holds.

        Returns:
            The shape.

        Raises:
            KeyError: Something is left out.
            TypeError: Something is of another kind.
            ValueError: It describes no mono model of this kind.
        """
        model = config["model"]
        before = model.get("pretransform") or {"type": "patched", "config": {"patch_size": 1}}
        kind = (before["type"], before["config"].get("oversampling", 1), model["io_channels"])
        if kind != ("patched", 1, 1):
            raise ValueError(f"pretransform, oversampling and channels {kind}, not ('patched', 1, 1)")
        patch, latents = before["config"]["patch_size"], model["latent_dim"]
        shape = cls(
            patch,
            latents,
            Side.of(model["encoder"], patch, latents),
            Side.of(model["decoder"], patch, latents),
            model["decoder"].get("soft_clip", False),
        )
        if not shape.hop == patch * prod(shape.decoder.strides) == model["downsampling_ratio"]:
            raise ValueError(f"a hop of {model['downsampling_ratio']}, but the strides make it {shape.hop}")
        return shape


class Taae(nn.Module):
    """Audio [B, T] to tokens [B, K, N] with N = ceil(T / hop), and tokens to audio [B, N * hop].

    `levels` and `scales` say how latents become tokens; the network does not depend on them: see `quantize`.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = encoder(shape)
        self.decoder = decoder(shape)

    def encode(self, audio: Tensor, levels: int, scales: Sequence[float]) -> Tensor:
        """Tokens [B, K, N], K = len(scales), int64."""
        audio = F.pad(audio, (0, -audio.shape[-1] % self.shape.hop))
        patches = audio.unflatten(-1, (-1, self.shape.patch)).transpose(1, 2)
        return quantize(self.encoder(patches), levels, scales)

    def decode(self, tokens: Tensor, levels: int, scales: Sequence[float]) -> Tensor:
        """Audio [B, N * hop] of tokens [B, K, N]."""
        audio = self.decoder(restore(tokens, levels, scales, self.shape.latents)).transpose(1, 2).flatten(1)
        return audio.tanh() if self.shape.clip else audio


def quantize(latents: Tensor, levels: int, scales: Sequence[float]) -> Tensor:
    """Each stage rounds what the stages before it left over. A stage has `levels` levels for each latent, evenly from
    -scale to scale; its token counts them, the first latent fastest. The dither of upstream is for training only.

    Args:
        latents: [B, D, N].
        levels: Of each latent.
        scales: [K], of the stages.

    Returns:
        Tokens [B, K, N].
    """
    rest = latents.double().tanh()  # as upstream, whose first version lost tokens to rounding
    place = levels ** torch.arange(latents.shape[1], device=latents.device)
    tokens = []
    for scale in scales:
        step = 2 * scale / (levels - 1)
        level = ((rest + scale) / step).round()
        rest = rest - (level * step - scale)
        tokens.append((level.long() * place[:, None]).sum(1))
    return torch.stack(tokens, 1)


def restore(tokens: Tensor, levels: int, scales: Sequence[float], latents: int) -> Tensor:
    """The sum of what the stages say.

    Args:
        tokens: [B, K, N].
        levels: Of each latent.
        scales: [K], of the stages.
        latents: D.

    Returns:
        Latents [B, D, N], float32.
    """
    place = levels ** torch.arange(latents, device=tokens.device)
    level = tokens[:, :, None] // place[:, None] % levels  # [B, K, D, N]
    scale = torch.tensor(scales, device=tokens.device)[:, None, None]
    return (level * (2 * scale / (levels - 1)) - scale).sum(1)


def encoder(shape: Shape) -> nn.Sequential:
    """[B, patch, M] to [B, latents, M / strides]."""
    side = shape.encoder
    stages = (
        nn.Sequential(
            Snake(outer) if side.snake else nn.Identity(),
            nn.Conv1d(outer, inner, 2 * stride, stride, ceil(stride / 2)) if stride > 1 else nn.Identity(),
            Blocks(inner, depth, side.window),
        )
        for outer, inner, stride, depth in zip(side.widths, side.widths[1:], side.strides, side.depths, strict=False)
    )
    return nn.Sequential(
        nn.Conv1d(shape.patch, side.widths[0], 7, padding=3),
        *stages,
        Snake(side.widths[-1]) if side.snake else nn.Identity(),
        nn.Conv1d(side.widths[-1], shape.latents, 3, padding=1),
    )


def decoder(shape: Shape) -> nn.Sequential:
    """[B, latents, N] to [B, patch, N * strides]."""
    side = shape.decoder
    stages = [
        nn.Sequential(
            Blocks(inner, depth, side.window),
            Snake(inner) if side.snake else nn.Identity(),
            nn.ConvTranspose1d(inner, outer, 2 * stride, stride, ceil(stride / 2)) if stride > 1 else nn.Identity(),
        )
        for outer, inner, stride, depth in zip(side.widths, side.widths[1:], side.strides, side.depths, strict=False)
    ]
    return nn.Sequential(
        nn.Conv1d(shape.latents, side.widths[-1], 3, padding=1),
        *reversed(stages),
        Snake(side.widths[0]) if side.snake else nn.Identity(),
        nn.Conv1d(side.widths[0], shape.patch, 7, padding=3, bias=False),
    )


class Snake(nn.Module):
    """x + sin(a x)^2 / b with a learned a and b for each channel, kept as logarithms (Ziyin et al., 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.alpha, self.beta = (nn.Parameter(torch.zeros(width)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, N] to the same."""
        return x + (x * self.alpha.exp()[:, None]).sin().square() / (self.beta.exp()[:, None] + 1e-9)


class Blocks(nn.ModuleList):
    """Transformer blocks over [B, C, N]; counted from 1, as in public checkpoints."""

    def __init__(self, width: int, depth: int, window: tuple[int, int]) -> None:
        super().__init__([nn.Identity(), *(Block(width) for _ in range(depth))])
        self.window = window
        self.turning = min(width, HEAD) // 2  # of a head

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        speeds = BASE ** (-torch.arange(0, self.turning, 2, device=x.device) / self.turning)
        angles = torch.arange(x.shape[1], device=x.device)[:, None] * speeds
        for block in list(self)[1:]:
            x = block(x, angles.cos(), angles.sin(), self.window)
        return x.transpose(1, 2)


class Block(nn.Module):
    """Attention, then a gated layer for each place, each after a norm and added to its input [B, N, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pre_norm, self.ff_norm = (nn.LayerNorm(width, EPSILON) for _ in range(2))
        self.self_attn = Attention(width)
        self.ff = Gated(width, 4 * width)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, window: tuple[int, int]) -> Tensor:
        x = x + self.self_attn(self.pre_norm(x), cosine, sine, window)
        return x + self.ff(self.ff_norm(x))


class Gated(nn.Module):
    """Two layers for each place, the first times the swish of another."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj, self.out = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return self.out(value * F.silu(gate))


class Attention(nn.Module):
    """Attention within a window, with normed queries and keys and rotary positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = min(width, HEAD)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm, self.k_norm = (nn.LayerNorm(self.head, HEAD_EPSILON) for _ in range(2))
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, window: tuple[int, int]) -> Tensor:
        """[B, N, C] to the same; `cosine` and `sine` [N, head / 4]."""
        q, k, v = self.to_qkv(x).unflatten(-1, (3, -1, self.head)).permute(2, 0, 3, 1, 4)  # [B, heads, N, head] each
        q, k = (rotate(t, cosine, sine) for t in (self.q_norm(q), self.k_norm(k)))
        return self.to_out(attend(q, k, v, window).transpose(1, 2).flatten(2))


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding: the first and second quarter of the channels turned in their plane by each place's
    angles.

    Args:
        x: [..., N, C].
        cosine: [N, C / 4].
        sine: [N, C / 4].

    Returns:
        [..., N, C].
    """
    size = cosine.shape[-1]
    a, b, rest = x.split([size, size, x.shape[-1] - 2 * size], -1)
    return torch.cat([a * cosine - b * sine, b * cosine + a * sine, rest], -1)


def attend(q: Tensor, k: Tensor, v: Tensor, window: tuple[int, int]) -> Tensor:
    """Attention in which place i sees the places i - left to i + right, as flash-attn counts them.

    Args:
        q: [..., N, C].
        k: [..., N, C].
        v: [..., N, C].
        window: left and right; below 0 for all.

    Returns:
        [..., N, C].
    """
    length = q.shape[-2]
    left, right = (length if reach < 0 else reach for reach in window)
    places = torch.arange(length, device=q.device)
    parts = []
    for queries in places.split(QUERIES):
        keys = places[max(0, int(queries[0]) - left) : int(queries[-1]) + right + 1]
        offset = keys - queries[:, None]
        seen = (offset >= -left) & (offset <= right)
        parts.append(
            F.scaled_dot_product_attention(q[..., queries, :], k[..., keys, :], v[..., keys, :], attn_mask=seen)
        )
    return torch.cat(parts, -2)

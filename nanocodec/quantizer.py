"""Group finite scalar quantization (FSQ: Mentzer et al. 2023, arXiv:2309.15505), exactly as upstream rounds it.

Nothing is learned and there are no projections. The latent's D dimensions are cut into groups of len(levels)
neighbours, one codebook each. A dimension with L levels is squashed by tanh, shifted when L is even, rounded, and
divided by L // 2, so dequantized values lie in [-1, 1] (in [-1, 1 - 1/(L // 2)] for even L).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_EPS = 1e-3  # keeps tanh's asymptotes from rounding to a level of their own


class FiniteScalarQuantizer(nn.Module):
    """One codebook: [B, D, N] latents, D = len(levels), to and from integers in [0, prod(levels)).

    Args:
        levels: of each dimension, at least 2.
    """

    num_levels: Tensor
    dim_base_index: Tensor

    def __init__(self, levels: tuple[int, ...]):
        super().__init__()
        base = [math.prod(levels[:i]) for i in range(len(levels))]  # first dimension counts least
        # From lists: torch.cumprod on the meta device would import torch's compiler, for 3 s.
        self.register_buffer("dim_base_index", torch.tensor(base, dtype=torch.int32).view(1, -1, 1))
        self.register_buffer("num_levels", torch.tensor(levels, dtype=torch.int32).view(1, -1, 1))

    def squash(self, latent: Tensor) -> Tensor:
        """Unbounded latent to level units: nearest integers are the levels -(L // 2) ... (L - 1) // 2."""
        scale = (self.num_levels - 1).to(latent.dtype) / 2 * (1 - _EPS)
        offset = (self.num_levels % 2 == 0).to(latent.dtype) * 0.5
        shift = torch.tan(offset / scale)  # upstream's tan; atanh would centre it better
        return scale * torch.tanh(latent + shift) - offset

    def quantize(self, latent: Tensor) -> Tensor:
        """Latent [B, D, N] to dequantized values; gradients pass straight through the rounding."""
        level = self.squash(latent)
        level = level + (torch.round(level) - level).detach()
        return level / (self.num_levels // 2)

    def encode(self, latent: Tensor) -> Tensor:
        """Latent [B, D, N] to int32 indices [B, N]."""
        digits = torch.round(self.squash(latent)).to(torch.int32) + self.num_levels // 2
        return (digits * self.dim_base_index).sum(dim=1, dtype=torch.int32)

    def decode(self, indices: Tensor) -> Tensor:
        """Integer indices [B, N] to dequantized values [B, D, N]."""
        digits = (indices[:, None, :] // self.dim_base_index) % self.num_levels
        half = self.num_levels // 2
        return (digits - half).float() / half


class GroupFiniteScalarQuantizer(nn.Module):
    """Several codebooks side by side; codebook g holds latent dimensions g * d ... g * d + d - 1.

    All have the same levels: each is computed as one more item of the batch, by the first.

    Args:
        levels: of each codebook's dimensions.
        num_codebooks: K.
    """

    def __init__(self, levels: tuple[int, ...], num_codebooks: int):
        super().__init__()
        self.fsqs = nn.ModuleList(FiniteScalarQuantizer(levels) for _ in range(num_codebooks))
        self.dims, self.codebook_size = len(levels), math.prod(levels)

    def check(self, codes: Tensor) -> None:
        """Refuse codes that this quantizer cannot have made.

        Raises:
            ValueError: not integers [B, K, N] in [0, codebook_size).
        """
        if codes.dim() != 3 or codes.shape[1] != len(self.fsqs):
            raise ValueError(f"codes must be [B, {len(self.fsqs)}, N], got shape {list(codes.shape)}")
        if codes.is_floating_point():
            raise ValueError(f"codes must be integers, got {codes.dtype}")
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= self.codebook_size):
            raise ValueError(f"codes must lie in [0, {self.codebook_size}), got {int(codes.min())}..{int(codes.max())}")

    def quantizers(self) -> list[FiniteScalarQuantizer]:
        """The codebooks' quantizers, in order."""
        return [fsq for fsq in self.fsqs if isinstance(fsq, FiniteScalarQuantizer)]

    def _apart(self, latent: Tensor) -> Tensor:
        batch, _, frames = latent.shape
        return latent.reshape(batch * len(self.fsqs), self.dims, frames)

    def squash(self, latent: Tensor) -> Tensor:
        """Latent [B, D, N] to the values that quantization would round, on the dequantized scale."""
        fsq = self.quantizers()[0]
        return (fsq.squash(self._apart(latent)) / (fsq.num_levels // 2)).reshape(latent.shape)

    def forward(self, latent: Tensor) -> Tensor:
        """Latent [B, D, N] to dequantized [B, D, N], straight-through gradients."""
        return self.quantizers()[0].quantize(self._apart(latent)).reshape(latent.shape)

    def encode(self, latent: Tensor) -> Tensor:
        """Latent [B, D, N] to int32 codes [B, K, N]."""
        batch, _, frames = latent.shape
        return self.quantizers()[0].encode(self._apart(latent)).reshape(batch, len(self.fsqs), frames)

    def decode(self, codes: Tensor) -> Tensor:
        """Integer codes [B, K, N] to dequantized latent [B, D, N]."""
        batch, _, frames = codes.shape
        values = self.quantizers()[0].decode(codes.reshape(batch * len(self.fsqs), frames))
        return values.reshape(batch, self.dims * len(self.fsqs), frames)

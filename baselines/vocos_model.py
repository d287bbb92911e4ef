"""Parts of Vocos (Siuzdak, 2023, arXiv 2306.00814), which several codecs decode with: ConvNeXt blocks at the frame
rate, and a head that turns frames into audio by an inverse short-time Fourier transform.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6
"""Of the norms."""


class ConvNeXtBlock(nn.Module):
    """A convolution of each channel, then two layers of each frame, added to their input [B, C, N]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, EPSILON)
        self.pwconv1 = nn.Linear(width, hidden)
        self.pwconv2 = nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        frames = self.norm(self.dwconv(x).transpose(1, 2))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(frames)))).transpose(1, 2)


class Head(nn.Module):
    """[B, N, width] to audio [B, N * hop], by magnitudes (at most 100) and phases of a short-time spectrum."""

    def __init__(self, width: int, window: int, hop: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, window + 2)
        self.istft = InverseSTFT(window, hop)

    def forward(self, x: Tensor) -> Tensor:
        magnitude, phase = self.out(x).transpose(1, 2).chunk(2, dim=1)
        return self.istft(torch.polar(magnitude.exp().clamp(max=1e2), phase))


class InverseSTFT(nn.Module):
    """Overlap-add of N windows a hop apart, normalised, and cut to N * hop samples in the middle."""

    window: Tensor

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.zeros(window))

    def forward(self, spectrum: Tensor) -> Tensor:
        """[B, window / 2 + 1, N], complex, to [B, N * hop]."""
        frames = torch.fft.irfft(spectrum, len(self.window), dim=1) * self.window[:, None]
        weight = self.window.square()[None, :, None].expand(1, -1, spectrum.shape[-1])
        return self._add(frames) / self._add(weight)

    def _add(self, frames: Tensor) -> Tensor:
        length = len(self.window)
        edge = (length - self.hop) // 2
        whole = (frames.shape[-1] - 1) * self.hop + length
        return F.fold(frames, (1, whole), (1, length), stride=(1, self.hop))[:, 0, 0, edge : whole - edge]

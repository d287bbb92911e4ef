"""A reconstruction loss in loudness: the disturbance of PESQ (ITU-T P.862 and P.862.2), made differentiable.

A log-spectrum weighs every bin alike. Perception does not: what is added between harmonics disturbs more than what is
missing, what a louder neighbour masks not at all, a frame that is merely louder hardly. The tables and constants are
P.862's. Left out is the alignment in time, and where P.862 cuts a frame's disturbance off, the loss bends.

Training with it is training on a metric: PESQ then overstates the codec, so evaluate it with other metrics.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

RATE, N_FFT = 16000, 512  # Hz; 32 ms
HOP = N_FFT // 2
EMPHASIS = (2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794)  # P.862.2's input filter
# P.862's 49 bands at 16 kHz: STFT bins in each, threshold of audibility in dB, Hz per Bark.
BINS = (
    *(1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2),
    *(3, 3, 3, 3, 4, 3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20),
)
THRESHOLD_DB = (
    *(77.1, 63.9, 48.5, 36.9, 30.7, 25.9, 20.2, 16.6, 12.5, 9.9, 6.9, 4.9, 2.8, 1.0, -0.1, -1.4, -2.5, -3.4, -4.1),
    *(-4.8, -5.3, -5.7, -5.9, -6.0, -6.0, -6.0, -6.0, -5.8, -5.4, -5.1, -4.7, -4.3, -4.0, -3.6, -3.3, -3.1, -3.0),
    *(-3.0, -2.9, -2.8, -2.8, -2.8, -2.9, -3.2, -3.7, -4.3, -4.4, -3.8, -2.7),
)
HZ_PER_BARK = (
    *(100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 106, 110, 118, 130, 138, 140, 143, 150),
    *(154, 162, 177, 192, 204, 218, 227, 234, 243, 257, 272, 295, 322, 355, 393, 430, 465, 513, 577, 652, 733, 826),
    *(910, 1001, 1116, 1375, 1591),
)

SHORTEST = 0.336  # s: 20 frames
CAP, SYMMETRIC, ASYMMETRIC = 45.0, 0.1, 0.0309


def _response(n: int) -> Tensor:
    """The input filter's complex response at the n // 2 + 1 frequencies of a real FFT of n samples."""
    z = torch.exp(-2j * torch.pi * torch.arange(n // 2 + 1) / n)
    above, below = (a + b * z + c * z**2 for a, b, c in EMPHASIS)
    return above / below


class LoudnessLoss(nn.Module):
    """Disturbance between excerpts, as P.862's score before its mapping loses it: 0 for none, 3.1 for a PESQ-WB of 1.5.

    Args:
        sample_rate: Hz, at least 16,000; what lies above 8 kHz does not count.
    """

    filters: Tensor
    width: Tensor
    threshold: Tensor
    exponent: Tensor
    window: Tensor

    def __init__(self, sample_rate: int):
        super().__init__()
        self.sample_rate = sample_rate
        edges = np.cumsum([0, *BINS])
        number = np.arange(N_FFT // 2 + 1)
        inside = (number >= edges[:-1, None]) & (number < edges[1:, None]) & (number > 0)
        width = np.geomspace(0.318, 0.585, len(BINS))  # Bark, within 1 % of P.862's
        centres = np.cumsum(width) - width / 2
        for name, value in (
            ("filters", inside * 6.910853e-6 * (np.array(HZ_PER_BARK) / BINS)[:, None]),
            ("width", width[:, None]),
            ("threshold", 10 ** (np.array(THRESHOLD_DB)[:, None] / 10)),
            ("exponent", 0.23 * np.clip(6 / (centres + 2), 1, 2)[:, None] ** 0.15),
            ("window", np.hanning(N_FFT + 1)[:-1]),
        ):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def densities(self, audio: Tensor) -> Tensor:
        """Power per Bark [B, 49, frames] of [B, T], at P.862.2's level and through its input filter."""
        n = round(audio.shape[1] * RATE / self.sample_rate)
        spectrum = torch.fft.rfft(audio)[:, : n // 2 + 1] * (n / audio.shape[1])
        telephone = spectrum[:, round(325 * n / RATE) : round(3250 * n / RATE)]
        power = 2 * telephone.abs().square().sum(1) / n**2
        filtered = torch.fft.irfft(spectrum * _response(n).to(audio.device), n)
        frames = torch.fft.rfft(filtered.unfold(1, N_FFT, HOP) * self.window)
        return self.filters @ frames.abs().square().transpose(1, 2) * (1e7 / (power + 1e-8))[:, None, None]

    def audible(self, density: Tensor, factor: float = 1.0) -> Tensor:
        """What exceeds so many times the threshold, summed over bands: [B, 1, frames]."""
        return (density * (density > factor * self.threshold)).sum(1, keepdim=True)

    def loudness(self, density: Tensor) -> Tensor:
        """Zwicker's loudness per band; 0 below the threshold."""
        excess = (0.5 + 0.5 * density / self.threshold) ** self.exponent - 1
        return 0.1866055 * (self.threshold / 0.5) ** self.exponent * excess.clamp(min=0)

    def disturbances(self, decoded: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Both kinds of disturbance over time.

        Args:
            decoded: generated audio, float [B, T] in [-1, 1].
            reference: real audio, of the same shape.

        Returns:
            Symmetric and asymmetric disturbance, [B, frames] each, from 0; the asymmetric one counts what was added.
        """
        got, wanted = self.densities(decoded), self.densities(reference)
        # A transmission's frequency response is forgiven up to 20 dB, a frame's gain almost wholly.
        spoken = self.audible(wanted, 100) > 1e7
        mean, mean_wanted = (
            (x * (x > 100 * self.threshold) * spoken).mean(2, keepdim=True) + 1000 for x in (got, wanted)
        )
        wanted = wanted * (mean / mean_wanted).clamp(0.01, 100)
        gain = (self.audible(wanted) + 5e3) / (self.audible(got) + 5e3)
        gain = torch.cat([gain[..., :1], 0.8 * gain[..., 1:] + 0.2 * gain[..., :-1]], 2)
        got = got * gain.clamp(3e-4, 5)

        loud, loud_wanted = self.loudness(got), self.loudness(wanted)
        masked = 0.25 * torch.minimum(loud, loud_wanted)
        disturbance = ((loud - loud_wanted).abs() - masked).clamp(min=0)[:, 1:] * self.width[1:]
        added = ((got + 50) / (wanted + 50))[:, 1:] ** 1.2
        added = added.clamp(max=12) * (added > 3)
        weight = ((self.audible(wanted)[:, 0] + 1e5) / 1e7) ** -0.04
        symmetric = (self.width[1:].sum() * disturbance.square().sum(1) + 1e-6).sqrt()
        return weight * symmetric, weight * (disturbance * added).sum(1)

    def forward(self, decoded: Tensor, reference: Tensor) -> Tensor:
        """Loss between excerpts of at least `SHORTEST` seconds.

        A frame counts 45 at most, as in P.862, but by a curve, so that a bad one still has a gradient.

        Args:
            decoded: generated audio, float [B, T] in [-1, 1].
            reference: real audio, of the same shape.

        Returns:
            A scalar, from 0.
        """
        symmetric, asymmetric = (
            over_time(CAP * (1 - torch.exp(-frames / CAP))) for frames in self.disturbances(decoded, reference)
        )
        return (SYMMETRIC * symmetric + ASYMMETRIC * asymmetric).mean()


def over_time(frames: Tensor) -> Tensor:
    """[B, frames] to [B]: the sixth-power mean over 0.32 s, in which the worst moments tell, and its RMS."""
    return ((frames + 1e-3).unfold(1, 20, 10) ** 6).mean(2).pow(1 / 6).square().mean(1).sqrt()

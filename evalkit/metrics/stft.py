"""Multi-resolution STFT distance: how far apart two spectrograms are, as DAC measures it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft

from evalkit.audio import Wave
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.checks import require_finite, require_length
from evalkit.metrics.mel import BLOCK, hann

FLOOR = np.float32(1e-5)
"""Least magnitude that counts in the logarithm."""


@dataclass(frozen=True)
class StftDistance(PairMetric):
    """Sum over windows n of 2048 and 512 samples of the mean absolute difference of magnitudes and of their logarithms:

        distance = sum_n (mean |M_r - M_d| + mean |log10 max(M_r, 1e-5)^2 - log10 max(M_d, 1e-5)^2|)

    with M = |STFT| in a periodic Hann window, hop n / 4, frames centred, the ends reflected.

    Range:
        0 up, without unit; symmetric. Lower is better.

    Source:
        Kumar et al. 2023 (arXiv 2306.06546), `MultiScaleSTFTLoss` of descript-audiotools 0.7.2 with its defaults, at
        16 kHz instead of 44.1. Other definitions (auraloss; MOSS, with the window's square root) give other values.

    Misses:
        Phase and masking. Levels are not normalised, so a copy at half the level has a distance above 0.

    Undefined:
        Below 1025 samples, the half window that is reflected at the ends. Silence is defined.

    Example:
        >>> from evalkit.testing import example_pair
        >>> round(STFT_DAC.score(example_pair(snr=20)), 1)
        3.3
    """

    windows: ClassVar[tuple[int, ...]] = (2048, 512)

    def score(self, pair: Pair) -> float:
        """Distance of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            0 up.

        Raises:
            UndefinedScore: Too short, or not finite.
        """
        require_length(pair, max(self.windows) // 2 + 1, "reflection padding needs half a window")
        require_finite(pair)
        return sum(_distance(pair, size) for size in self.windows)


def _distance(pair: Pair, size: int) -> float:
    reference, decoded = (_frames(wav, size) for wav in (pair.reference, pair.decoded))
    step, total = max(1, BLOCK // size), 0.0
    for start in range(0, len(reference), step):
        a, b = (_magnitudes(side[start : start + step]) for side in (reference, decoded))
        total += float(np.abs(a - b).sum(dtype=np.float64))
        a, b = (np.log10(np.square(np.maximum(side, FLOOR))) for side in (a, b))
        total += float(np.abs(a - b).sum(dtype=np.float64))
    return total / (len(reference) * (1 + size // 2))


def _frames(wav: Wave, size: int) -> NDArray[np.float32]:
    """View [frames, size] of `wav` [T], reflected at its ends."""
    return sliding_window_view(np.pad(wav, size // 2, mode="reflect"), size)[:: size // 4]


def _magnitudes(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.abs(rfft(frames * hann(frames.shape[1], periodic=True), overwrite_x=True))


STFT_DAC = StftDistance(
    name="stft-dac", label="STFT (DAC)", direction="down", unit="", low=0.0, high=float("inf"), version="1", decimals=3
)

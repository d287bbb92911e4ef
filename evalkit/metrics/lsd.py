"""Log-spectral distance and mel-cepstral distortion: two classical distances of spectra, in decibels.

Neither was made for neural codecs: they compare frame by frame what a listener may not tell apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dct, rfft

from evalkit.audio import Wave
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound
from evalkit.metrics.mel import hann, mel_filters

FFT, HOP = 2048, 512
"""Samples of a frame and between two: 128 and 32 ms. Frames are centred, with zeros around the signal."""
FLOOR = 1e-8
"""Least power that counts in LSD; that of a full-scale sine in its bin is 2.6e5. Below it, differences are inaudible
noise, and would decide the value."""
BLOCK = 4096
"""Frames that are transformed at once, two minutes: bounds the memory for long audio."""


@dataclass(frozen=True)
class LogSpectralDistance(PairMetric):
    """Mean over frames f of the root mean square over bins k of the difference in level:

        LSD = mean_f sqrt(mean_k (10 log10 P_r[f, k] - 10 log10 P_d[f, k])^2),  P = max(|STFT|^2, 1e-8)

    with an STFT of 2048 points, hop 512, periodic Hann window.

    Range:
        dB, 0 up; symmetric. Lower is better.

    Source:
        Gray and Markel, "Distance measures for speech processing", 1976. Papers differ in window, floor and factor:
        values are comparable only under this name.

    Misses:
        Phase and masking: quiet bins count as much as loud ones. It depends on level: half the level is 6 dB.

    Undefined:
        For silence.

    Example:
        >>> from evalkit.testing import example_pair
        >>> round(LSD.score(example_pair(snr=20)), 1)  # white noise fills what was quiet
        18.2
    """

    def score(self, pair: Pair) -> float:
        """dB of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            0 up.

        Raises:
            UndefinedScore: Either side is silent, constant, or not finite.
        """
        require_length(pair, 1)
        require_sound(pair)
        distances = []
        for powers in zip(power(pair.reference), power(pair.decoded), strict=True):
            first, second = (10 * np.log10(np.maximum(one, FLOOR)) for one in powers)
            distances.append(np.sqrt(np.square(first - second).mean(axis=1)))
        return float(np.concatenate(distances).mean())


@dataclass(frozen=True)
class MelCepstralDistortion(PairMetric):
    """Mean over frames f of the distance between cepstra, without the coefficient of the level:

        MCD = (10 / ln 10) mean_f sqrt(2 sum_{d=1..13} (c_r[f, d] - c_d[f, d])^2)

    c is the orthonormal DCT-II of ln max(m, 1e-5), where m is the mel spectrogram of the metric `mel-2048-80-ln1p` (80
    bands of the magnitude). Frames are compared without time warping.

    Range:
        dB, 0 up; symmetric. Lower is better.

    Source:
        After Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", 1993. Cepstra from
        other analyses give other values; `mcd-world-39` uses WORLD.

    Misses:
        Level, pitch and phase. A delay counts as distortion.

    Undefined:
        For silence.

    Example:
        >>> from evalkit.testing import example_pair
        >>> round(MCD.score(example_pair(snr=20)), 1)
        48.6
    """

    def score(self, pair: Pair) -> float:
        """dB of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            0 up.

        Raises:
            UndefinedScore: Either side is silent, constant, or not finite.
        """
        require_length(pair, 1)
        require_sound(pair)
        distances = []
        for powers in zip(power(pair.reference), power(pair.decoded), strict=True):
            first, second = (cepstrum(one) for one in powers)
            distances.append(np.sqrt(2 * np.square(first - second).sum(axis=1)))
        return float(10 / np.log(10) * np.concatenate(distances).mean())


def power(wav: Wave) -> Iterator[NDArray[np.float64]]:
    """|STFT|^2 [frames, 1 + FFT / 2] of `wav` [T], BLOCK frames at once."""
    padded = np.pad(wav, FFT // 2)
    frames = sliding_window_view(padded, FFT)[::HOP][: 1 + len(wav) // HOP]
    window = hann(FFT, periodic=True)
    for start in range(0, len(frames), BLOCK):
        yield np.abs(rfft(frames[start : start + BLOCK].astype(np.float64) * window)) ** 2


def cepstrum(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mel cepstrum [frames, 13] of |STFT|^2, without the zeroth coefficient, which is the level."""
    mel = np.sqrt(power) @ mel_filters(FFT, 80, unit_area=False)
    return dct(np.log(np.maximum(mel, 1e-5)), type=2, norm="ortho", axis=1)[:, 1:14]


LSD = LogSpectralDistance(
    name="lsd-2048", label="LSD", direction="down", unit="dB", low=0.0, high=float("inf"), version="1", decimals=2
)
MCD = MelCepstralDistortion(
    name="mcd-mel80", label="MCD", direction="down", unit="dB", low=0.0, high=float("inf"), version="1", decimals=2
)

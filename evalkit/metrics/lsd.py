"""Log-spectral distance and mel-cepstral distortion: two classical distances of spectra, in decibels.

Neither was made for neural codecs: they compare frame by frame what a listener may not tell apart.
"""

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
"""Least power that counts in LSD; that of a full-scale sine in its bin is 2.6e5. Below it, differences are noise that
nobody hears, and would decide the value."""


@dataclass(frozen=True)
class LogSpectralDistance(PairMetric):
    """Mean over frames f of the root mean square over bins k of the difference in level:

        LSD = mean_f sqrt(mean_k (10 log10 P_r[f, k] - 10 log10 P_d[f, k])^2),  P = max(|STFT|^2, 1e-8)

    in dB, from 0 on, symmetric; STFT of 2048 points, hop 512, periodic Hann window. It depends on level: half the level
    is 6 dB. Source: Gray and Markel, "Distance measures for speech processing", 1976. Papers differ in window, floor
    and factor: values compare only with those of this name. Undefined for silence.
    """

    def score(self, pair: Pair) -> float:
        """dB of `pair`."""
        require_length(pair, 1)
        require_sound(pair)
        levels = [10 * np.log10(np.maximum(power(wav), FLOOR)) for wav in (pair.reference, pair.decoded)]
        return float(np.sqrt(np.square(levels[0] - levels[1]).mean(axis=1)).mean())


@dataclass(frozen=True)
class MelCepstralDistortion(PairMetric):
    """Mean over frames f of the distance of cepstra without their level:

        MCD = (10 / ln 10) mean_f sqrt(2 sum_{d=1..13} (c_r[f, d] - c_d[f, d])^2)

    in dB, from 0 on, symmetric. c is the orthonormal DCT-II of ln max(m, 1e-5), with m the mel spectrogram of the
    metric `mel-2048-80-ln1p` (80 bands of the magnitude). Frames are compared as they stand, without time warping.
    Based on Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", 1993; cepstra by other
    analyses (SPTK, WORLD) give other values. Undefined for silence.
    """

    def score(self, pair: Pair) -> float:
        """dB of `pair`."""
        require_length(pair, 1)
        require_sound(pair)
        first, second = (cepstrum(wav) for wav in (pair.reference, pair.decoded))
        distances = np.sqrt(2 * np.square(first - second).sum(axis=1))
        return float(10 / np.log(10) * distances.mean())


def power(wav: Wave) -> NDArray[np.float64]:
    """|STFT|^2 [frames, 1 + FFT / 2]."""
    padded = np.pad(wav.astype(np.float64), FFT // 2)
    frames = sliding_window_view(padded, FFT)[::HOP][: 1 + len(wav) // HOP]
    return np.abs(rfft(frames * hann(FFT, periodic=True))) ** 2


def cepstrum(wav: Wave) -> NDArray[np.float64]:
    """Mel cepstrum [frames, 13] without the zeroth coefficient, which is the level."""
    mel = np.sqrt(power(wav)) @ mel_filters(FFT, 80, unit_area=False)
    return dct(np.log(np.maximum(mel, 1e-5)), type=2, norm="ortho", axis=1)[:, 1:14]


LSD = LogSpectralDistance(
    name="lsd-2048", label="LSD", direction="down", unit="dB", low=0.0, high=float("inf"), version="1", decimals=2
)
MCD = MelCepstralDistortion(
    name="mcd-mel80", label="MCD", direction="down", unit="dB", low=0.0, high=float("inf"), version="1", decimals=2
)

"""Mel filters: triangles over the bins of an FFT, equally spaced on Slaney's mel scale.

Losses and metrics share them; each scales the filters as its definition asks. Needs numpy only.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LINEAR_HZ = 1000.0
"""Slaney's scale is linear up to here (200/3 Hz a mel) and logarithmic beyond (a factor of 6.4 in 27 mel)."""
LINEAR_MEL = LINEAR_HZ * 3 / 200
LOG_STEP = log(6.4) / 27


def hz_to_mel(hz: float) -> float:
    """Slaney's mel of a frequency in Hz.

    Source: Slaney, Auditory Toolbox, 1998; librosa's default scale.
    """
    return hz * 3 / 200 if hz < LINEAR_HZ else LINEAR_MEL + log(hz / LINEAR_HZ) / LOG_STEP


def mel_to_hz(mel: Floats) -> Floats:
    """Frequencies in Hz of Slaney mels, the inverse of `hz_to_mel`."""
    return np.where(mel < LINEAR_MEL, mel * 200 / 3, LINEAR_HZ * np.exp(LOG_STEP * (mel - LINEAR_MEL)))


def slaney_edges(sample_rate: float, bands: int) -> Floats:
    """Edges in Hz of `bands` triangles from 0 to the Nyquist frequency: [bands + 2], equally spaced in Slaney mels."""
    return mel_to_hz(np.linspace(0, hz_to_mel(sample_rate / 2), bands + 2))


def triangular_filters(edges: Floats, sample_rate: float, n_fft: int) -> Floats:
    """Triangular filters over the bins of a real FFT.

    Args:
        edges: [bands + 2] frequencies in Hz, ascending, on whatever scale. Band i rises from edges[i] to 1 at
            edges[i + 1] and falls to 0 at edges[i + 2].
        sample_rate: Hz.
        n_fft: length of the FFT in samples.

    Returns:
        float64 [bands, n_fft // 2 + 1] in [0, 1].
    """
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    return np.maximum(0, np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)))

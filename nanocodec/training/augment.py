"""Augmentations that leave clean speech clean: another voice, another microphone, another room, but no noise."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve


def equalize(audio: np.ndarray, sample_rate: int, depth_db: float, rng: np.random.Generator) -> np.ndarray:
    """A random smooth equalizer, as of another microphone: a low and a high shelf of up to +- `depth_db` each.

    The gain in dB moves from one shelf to the other along a logistic curve over the logarithm of frequency, with a
    random centre between 200 Hz and 5 kHz. Zero phase, so the audio keeps its timing.

    Args:
        audio: float [T].
        sample_rate: Hz.
        depth_db: largest gain of a shelf, in dB.
        rng: drawn from.

    Returns:
        float [T].
    """
    low, high = rng.uniform(-depth_db, depth_db, 2)
    centre, width = np.log(rng.uniform(200, 5000)), rng.uniform(0.2, 0.8)
    hz = np.maximum(np.fft.rfftfreq(len(audio), 1 / sample_rate), 1.0)
    mix = 1 / (1 + np.exp(-(np.log(hz) - centre) / width))
    return np.fft.irfft(np.fft.rfft(audio) * 10 ** ((low + (high - low) * mix) / 20), len(audio))


def reverberate(audio: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A random small room: the direct sound and exponentially decaying noise, RT60 0.1 to 0.5 s, 6 to 20 dB below.

    Args:
        audio: float [T].
        sample_rate: Hz.
        rng: drawn from.

    Returns:
        float [T] with the energy of `audio`; the tail past T is cut off.
    """
    rt60, below = rng.uniform(0.1, 0.5), rng.uniform(6, 20)
    time = np.arange(int(rt60 * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    tail *= 10 ** (-below / 20) / np.sqrt(np.sum(np.square(tail)))
    tail[: int(0.002 * sample_rate)] = 0  # the first reflection arrives later
    tail[0] = 1.0
    wet = fftconvolve(audio, tail)[: len(audio)]
    return wet * np.sqrt(np.sum(np.square(audio)) / max(np.sum(np.square(wet)), 1e-12))

"""Signals that the metric tests share, all synthesized."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from evalkit.metrics.base import SCORE_RATE, Pair

Wave = NDArray[np.float32]


def _speech(seconds: float = 2.0, seed: int = 0) -> Wave:
    """Something like speech [T]: a gliding buzz and some hiss through moving resonances, in syllables with pauses."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SCORE_RATE)) / SCORE_RATE
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6)) + 10 * np.sin(2 * np.pi * 2.3 * time)
    buzz = np.diff(np.floor(np.cumsum(pitch) / SCORE_RATE), prepend=0.0)
    source = buzz + 0.02 * rng.standard_normal(len(time))
    wav = np.zeros_like(time)
    block = SCORE_RATE // 5
    for start in range(0, len(time), block):
        part = source[start : start + block]
        for centre, width in zip(rng.uniform([250, 900, 2300], [800, 2200, 3500]), (80, 120, 200), strict=True):
            radius = np.exp(-np.pi * width / SCORE_RATE)
            angle = 2 * np.pi * centre / SCORE_RATE
            part = part + lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], part)
        wav[start : start + block] = part * rng.choice([0.3, 1.0, 0.7])
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * time) + 0.3, 0, 1) ** 0.5
    wav *= syllables * (np.sin(2 * np.pi * 0.45 * time) > -0.8)
    wav += 1e-4 * rng.standard_normal(len(time))
    return (0.5 * wav / np.abs(wav).max()).astype(np.float32)


def _noisy(wav: Wave, snr: float, seed: int = 1) -> Wave:
    """`wav` with white noise `snr` dB below it."""
    noise = np.random.default_rng(seed).standard_normal(len(wav))
    gain = np.sqrt(np.mean(wav.astype(float) ** 2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    return (wav + gain * noise).astype(np.float32)


@pytest.fixture(scope="session")
def speech() -> Callable[..., Wave]:
    return _speech


@pytest.fixture(scope="session")
def noisy() -> Callable[..., Wave]:
    return _noisy


@pytest.fixture(scope="session")
def pair() -> Pair:
    """Two seconds at 10 dB signal-to-noise ratio."""
    clean = _speech()
    return Pair(clean, _noisy(clean, 10))

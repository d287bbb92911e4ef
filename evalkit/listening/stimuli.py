"""Stimuli: the reference, its anchors and what codecs made of it, equally long and equally loud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Audio, Wave, resample
from evalkit.errors import AudioError
from evalkit.listening.kit import LOW, MIDDLE, REFERENCE
from evalkit.listening.loudness import SAMPLE_RATE, loudness

CUTOFFS = {LOW: (3_500, 4_000), MIDDLE: (7_000, 8_000)}
"""Hz up to which an anchor is flat within 0.1 dB, and from which on nothing is left. BS.1534 asks for 25 dB at 4 kHz
and 50 dB at 4.5 kHz of the lower one; the other is twice that."""
TARGET, PEAK = -23.0, 10 ** (-1 / 20)
"""LUFS, as EBU R 128 has it, and the highest peak that is allowed: -1 dBFS."""


@dataclass(frozen=True)
class Stimuli:
    """Versions of one utterance by name, [T] at 48 kHz, and the loudness in LUFS that each had."""

    versions: Mapping[str, Wave]
    levels: Mapping[str, float]

    def highest(self) -> float:
        """LUFS at which the first of them would reach PEAK."""
        return min(20 * np.log10(PEAK / np.abs(wav).max()) + self.levels[name] for name, wav in self.versions.items())

    def at(self, target: float) -> dict[str, Wave]:
        """The versions at `target` LUFS."""
        return {
            name: (wav * 10 ** ((target - self.levels[name]) / 20)).astype(np.float32)
            for name, wav in self.versions.items()
        }


def prepare(reference: Audio, decoded: Mapping[str, Audio], anchors: Sequence[str] = ()) -> Stimuli:
    """All versions of one utterance, as long as the reference.

    Args:
        reference: The original.
        decoded: By the name of its stimulus.
        anchors: Names of low-passed references that belong to them.

    Raises:
        AudioError: One is silent, or shorter than 400 ms.
    """
    original = _at_48k(reference)
    versions = {REFERENCE: original} | {
        name: np.pad(wav[: len(original)], (0, max(0, len(original) - len(wav))))
        for name, wav in ((name, _at_48k(audio)) for name, audio in decoded.items())
    }
    versions |= {name: low_passed(original, name) for name in anchors}
    levels = {name: loudness(wav) for name, wav in versions.items()}
    for name, level in levels.items():
        if not isfinite(level):
            raise AudioError(f"{name} is silent or shorter than 400 ms: its loudness cannot be matched")
    return Stimuli(versions, levels)


def low_passed(wav: Wave, anchor: str) -> Wave:
    """`wav` [T] at 48 kHz through the filter of `anchor`, without its delay."""
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(wav.astype(np.float64), taps(anchor), mode="same"), np.float32)


@cache
def taps(anchor: str) -> NDArray[np.float64]:
    """The linear-phase filter of `anchor`: an odd number of taps, by Kaiser's window."""
    from scipy.signal import firwin, kaiserord

    flat, stop = CUTOFFS[anchor]
    count, beta = kaiserord(70, (stop - flat) / (SAMPLE_RATE / 2))
    return np.asarray(firwin(count | 1, (flat + stop) / 2, window=("kaiser", beta), fs=SAMPLE_RATE))


def _at_48k(audio: Audio) -> Wave:
    return resample(audio.wav, audio.sample_rate, SAMPLE_RATE)

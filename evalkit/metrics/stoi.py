"""STOI and ESTOI: how much of the decoded speech a listener would understand, from envelopes of short time."""

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from typing import ClassVar

import numpy as np

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Direction, Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound

MIN_SAMPLES = 6554
"""Below (256 + 30 * 128) / 10 kHz = 0.41 s there are fewer than the 30 frames that one segment takes."""


@dataclass(frozen=True)
class ShortTimeIntelligibility(PairMetric):
    """Short-time objective intelligibility: correlation of band envelopes, averaged over bands and segments.

    Both signals are resampled to 10 kHz; frames of 256 samples (hop 128) in which the *reference* is more than 40 dB
    below its loudest are dropped; each frame becomes 15 third-octave band magnitudes from 150 Hz on. For every
    segment of 30 frames (384 ms):

    - STOI: each decoded band is scaled to the reference's energy and clipped at -15 dB signal-to-distortion; the
      value is the mean correlation of the bands' envelopes.
    - ESTOI (`extended`): segments are normalised over time, then over bands; the value is the mean correlation of
      their columns. It also sees distortions that are themselves modulated, such as those of codecs.

    Range:
        Correlations, -1 to 1; in practice 0 to 1, and 1 for a perfect copy. No unit. Higher is better.

    Source:
        Taal, Hendriks, Heusdens, Jensen, "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted
        Noisy Speech", IEEE TASLP 2011; Jensen, Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked
        by Modulated Noise Maskers", IEEE TASLP 2016; computed by the package `pystoi`.

    Misses:
        Everything above 4.3 kHz, and pitch. It is near its end for codecs above 4 kbit/s.

    Undefined:
        Below 0.41 s and above 30 minutes (the package keeps every segment: 1 GB for each 20 minutes); for silence on
        either side; where fewer than 30 frames are left (pystoi gives 1e-5 and a warning there). pystoi adds noise of
        1e-16 to ESTOI's segments, which decides the value wherever decoded audio holds digital silence: two calls
        differ by up to 0.01. Here the noise has a fixed seed, and numpy's own is put back.

    Example:
        >>> from evalkit.testing import example_pair
        >>> pair = example_pair()  # speech, and the same with white noise 20 dB below it
        >>> round(STOI.score(pair), 2), round(ESTOI.score(pair), 2)
        (1.0, 0.99)
    """

    max_seconds: ClassVar[float] = 1_800.0

    direction: Direction = "up"
    unit: str = ""
    low: float = -1.0
    high: float = 1.0
    version: str = f"1 (pystoi {version('pystoi')})"
    decimals: int = 3
    extended: bool = False

    def score(self, pair: Pair) -> float:
        """Intelligibility of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            -1 to 1.

        Raises:
            UndefinedScore: Too short, silent, or too little of the reference above its silence.
        """
        from pystoi import stoi

        require_length(pair, MIN_SAMPLES, "fewer than 30 frames")
        require_sound(pair)
        state = np.random.get_state()
        np.random.seed(0)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
                value = stoi(pair.reference, pair.decoded, SCORE_RATE, extended=self.extended)
        except RuntimeWarning as error:
            raise UndefinedScore("fewer than 30 frames of the reference are louder than silence") from error
        finally:
            np.random.set_state(state)
        if not isfinite(value):
            raise UndefinedScore("the correlation is not a number")
        return float(np.clip(value, self.low, self.high))


STOI = ShortTimeIntelligibility("stoi", "STOI")
ESTOI = ShortTimeIntelligibility("estoi", "ESTOI", extended=True)

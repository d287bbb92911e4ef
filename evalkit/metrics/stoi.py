"""STOI and ESTOI: how much of the decoded speech a listener would understand, from envelopes of short time."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Direction, Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound

MIN_SAMPLES = 6554
"""Below (256 + 30 * 128) / 10 kHz = 0.41 s there are fewer than the 30 frames that one segment takes."""
FRAME, HOP, FFT, SEGMENT = 256, 128, 512, 30
"""Samples of a frame at 10 kHz, between two, and of the FFT; frames of a segment."""
QUIET = 40.0
"""dB below the loudest frame at which a frame counts as silence."""
CLIP = 1 + 10 ** (15 / 20)
"""Times the reference's magnitude at which STOI clips a decoded band: -15 dB signal-to-distortion."""
BLOCK = 4_096
"""Frames or segments at once: half a minute."""
EPS = np.finfo("float").eps

Block = NDArray[np.float64]


@dataclass(frozen=True)
class ShortTimeIntelligibility(PairMetric):
    """Short-time objective intelligibility: correlation of band envelopes, averaged over bands and segments.

    Both signals are resampled to 10 kHz and cut into frames of 256 samples (hop 128). Frames in which the *reference*
    is more than 40 dB below its loudest frame are dropped; the others become 15 third-octave band magnitudes, from
    150 Hz up. For every segment of 30 frames (384 ms):

    - STOI: each decoded band is scaled to the reference's energy and clipped at -15 dB signal-to-distortion; the
      value is the mean correlation of the bands' envelopes.
    - ESTOI (`extended`): segments are normalised over time, then over bands; the value is the mean correlation of
      their columns. It also detects modulated distortions, such as those of codecs.

    Range:
        Correlations, -1 to 1; in practice 0 to 1, and 1 for a perfect copy. No unit. Higher is better.

    Source:
        Taal, Hendriks, Heusdens, Jensen, "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted
        Noisy Speech", IEEE TASLP 2011; Jensen, Taal, "An Algorithm for Predicting the Intelligibility of Speech Masked
        by Modulated Noise Maskers", IEEE TASLP 2016; with the values of the package `pystoi`, whose resampler and
        bands are used. The rest is own code that processes long audio in blocks.

    Misses:
        Everything above 4.3 kHz, and pitch. It saturates for codecs above 4 kbit/s.

    Undefined:
        Below 0.41 s and above two hours; for silence on either side; where fewer than 30 frames are left (pystoi gives
        1e-5 and a warning there). pystoi adds noise of 1e-16 to ESTOI's segments, which determines the value wherever
        the decoded audio is digital silence: two calls differ by up to 0.01. Here that noise has a fixed seed.

    Example:
        >>> from evalkit.testing import example_pair
        >>> pair = example_pair()  # speech, and the same with white noise 20 dB below it
        >>> round(STOI.score(pair), 2), round(ESTOI.score(pair), 2)
        (1.0, 0.99)
    """

    imports: ClassVar[tuple[str, ...]] = ("pystoi",)

    direction: Direction = "up"
    unit: str = ""
    low: float = -1.0
    high: float = 1.0
    version: str = f"2 (pystoi {version('pystoi')})"
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
        require_length(pair, MIN_SAMPLES, "fewer than 30 frames")
        require_sound(pair)
        reference, decoded = _bands(pair)
        segments = len(reference) - SEGMENT + 1
        if segments < 1:
            raise UndefinedScore("fewer than 30 frames of the reference are louder than silence")
        noise = np.random.RandomState(0)
        total = 0.0
        for start in range(0, segments, BLOCK):
            x, y = (sliding_window_view(side, SEGMENT, axis=0)[start : start + BLOCK] for side in (reference, decoded))
            total += _extended(x, y, noise) if self.extended else _correlation(x, y)
        value = total / segments
        if not isfinite(value):
            raise UndefinedScore("the correlation is not a number")
        return float(np.clip(value, self.low, self.high))


def _correlation(x: Block, y: Block) -> float:
    """Sum over segments of the mean correlation of envelopes, for segments [J, 15, 30] of reference and decoded."""
    y = y * (_norm(x, 2) / (_norm(y, 2) + EPS))
    x, y = (side - side.mean(axis=2, keepdims=True) for side in (x, np.minimum(y, CLIP * x)))
    return float(np.sum(x / (_norm(x, 2) + EPS) * (y / (_norm(y, 2) + EPS)))) / x.shape[1]


def _extended(x: Block, y: Block, noise: np.random.RandomState) -> float:
    """Sum over segments of the mean correlation of columns, for segments [J, 15, 30] of reference and decoded."""
    normalized = []
    for side in (x, y):
        for axis in (2, 1):  # over time, then over bands
            side = side + EPS * noise.standard_normal(side.shape)
            side = side - side.mean(axis=axis, keepdims=True)
            side = side / _norm(side, axis)
        normalized.append(side)
    return float(np.sum(normalized[0] * normalized[1])) / SEGMENT


def _norm(x: Block, axis: int) -> Block:
    return np.sqrt(np.square(x).sum(axis=axis, keepdims=True))


def _bands(pair: Pair) -> tuple[Block, Block]:
    """Third-octave band magnitudes [frames, 15] of both sides, without the frames in which the reference is silent."""
    from pystoi.stoi import FS, OBM
    from pystoi.utils import resample_oct

    window = np.hanning(FRAME + 2)[1:-1]
    sides = [resample_oct(wav, FS, SCORE_RATE) for wav in (pair.reference, pair.decoded)]
    reference, decoded = (sliding_window_view(wav, FRAME)[:-1:HOP] for wav in sides)
    levels = [20 * np.log10(np.linalg.norm(frames * window, axis=1) + EPS) for frames in _blocks(reference)]
    level = np.concatenate(levels)
    kept = np.flatnonzero(level > level.max() - QUIET)

    def bands(frames: NDArray[np.floating]) -> Block:
        found = [np.empty((0, len(OBM)))]
        for start in range(0, len(kept) - 1, BLOCK):
            before = min(start, 1)  # the frame before, whose second half is added to the first one's first half
            parts = frames[kept[start - before : start + BLOCK + 1]] * window
            joined = np.zeros((len(parts) + 1, HOP))
            joined[:-1] += parts[:, :HOP]
            joined[1:] += parts[:, HOP:]
            again = sliding_window_view(joined.reshape(-1), FRAME)[::HOP][before : len(parts) - 1]
            spectra = np.fft.rfft(again * window, n=FFT)
            found.append(np.sqrt(np.square(np.abs(spectra)) @ OBM.T))
        return np.concatenate(found)

    return bands(reference), bands(decoded)


def _blocks(frames: NDArray[np.floating]) -> Iterator[NDArray[np.floating]]:
    yield from (frames[start : start + BLOCK] for start in range(0, len(frames), BLOCK))


STOI = ShortTimeIntelligibility("stoi", "STOI")
ESTOI = ShortTimeIntelligibility("estoi", "ESTOI", extended=True)

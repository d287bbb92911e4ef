"""Pitch: how far the decoded voice is from the original's melody, and how often voicing is lost or made up."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from evalkit.audio import Wave
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound

LOWEST, HIGHEST = 60.0, 400.0
"""Hz of the pitch that is looked for."""
WINDOW = 512
"""Samples that are compared with themselves later on: 32 ms."""
HOP = 160
"""Samples between frames: 10 ms."""
THRESHOLD = 0.15
"""Of YIN: what the normalised difference must fall below for a frame to be voiced."""
QUIET = 1e-3
"""Share of the loudest frame's energy (-30 dB) below which no frame is voiced, whatever its shape."""
BLOCK = 6000
"""Frames that are transformed at once, a minute: bounds the memory for long audio."""


@dataclass(frozen=True)
class PitchError(PairMetric):
    """Root-mean-square difference in pitch, 1200 log2(F_d / F_r), over the frames that are voiced on both sides.

    Pitch and voicing come from YIN, between 60 and 400 Hz, every 10 ms.

    Range:
        Cents (100 are a semitone), 0 up; symmetric. Lower is better.

    Source:
        YIN (de Cheveigné and Kawahara 2002), own code.

    Misses:
        Frames that lost their voicing; `vuv-error-yin` counts them. A single octave error adds 1200 cents in its frame.

    Undefined:
        Where no frame is voiced on both sides, and for silence.

    Example:
        >>> from evalkit.testing import example_pair
        >>> round(F0_RMSE.score(example_pair(snr=20)))
        1
    """

    def score(self, pair: Pair) -> float:
        """Cent of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            0 up.

        Raises:
            UndefinedScore: No frame is voiced on both sides; too short, silent, or not finite.
        """
        reference, decoded = tracks(pair)
        voiced = ~np.isnan(reference) & ~np.isnan(decoded)
        if not voiced.any():
            raise UndefinedScore("no frame is voiced in both the reference and the decoded audio")
        cents = 1200 * np.log2(decoded[voiced] / reference[voiced])
        return float(np.sqrt(np.mean(np.square(cents))))


@dataclass(frozen=True)
class VoicingError(PairMetric):
    """Share of frames that are voiced on one side but not on the other, according to YIN (every 10 ms).

    Range:
        Percent, 0 to 100; symmetric. Lower is better.

    Source:
        YIN (de Cheveigné and Kawahara 2002), own code.

    Misses:
        Errors of pitch where both sides are voiced; `f0-rmse-yin` measures them.

    Undefined:
        For silence.

    Example:
        >>> from evalkit.testing import example_pair
        >>> round(VOICING.score(example_pair(snr=20)), 1)
        5.6
    """

    def score(self, pair: Pair) -> float:
        """Percent of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            0 to 100.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        reference, decoded = tracks(pair)
        return float(100 * np.mean(np.isnan(reference) != np.isnan(decoded)))


def tracks(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`track` of both sides."""
    require_length(pair, WINDOW + longest_lag() + 1, "one frame of pitch")
    require_sound(pair)
    reference, decoded = (_known_track(wav) for wav in (pair.reference, pair.decoded))
    return reference, decoded


_TRACKS: dict[bytes, NDArray[np.float64]] = {}
"""Of the last recordings: both metrics ask for the same."""


def _known_track(wav: Wave) -> NDArray[np.float64]:
    key = sha256(wav.tobytes()).digest()
    if key not in _TRACKS:
        _TRACKS[key] = track(wav)
        while len(_TRACKS) > 4:
            del _TRACKS[next(iter(_TRACKS))]
    return _TRACKS[key]


def track(wav: Wave) -> NDArray[np.float64]:
    """Pitch [frames] in Hz of `wav` [T] at SCORE_RATE every 10 ms, NaN where a frame is unvoiced.

    YIN (de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music", 2002), steps 1 to 5:
    the squared difference of 32 ms with what comes a lag later, divided by its mean up to that lag; the first lag that
    dips below THRESHOLD, followed down to its minimum, refined by a parabola.
    """
    shortest, longest = int(SCORE_RATE / HIGHEST), longest_lag()
    frames = sliding_window_view(wav, WINDOW + longest + 1)[::HOP]
    blocks = [slice(start, start + BLOCK) for start in range(0, len(frames), BLOCK)]
    energy = np.concatenate([np.square(frames[block, :WINDOW], dtype=np.float64).mean(axis=1) for block in blocks])
    loud = energy > QUIET * energy.max()
    pitch = np.full(len(frames), np.nan)
    lags = np.arange(1, longest + 2)
    for block in blocks:
        difference = _difference(frames[block].astype(np.float64), longest + 1)
        total = np.cumsum(difference[:, 1:], axis=1)
        normal = np.ones_like(difference)
        np.divide(difference[:, 1:] * lags, total, out=normal[:, 1:], where=total > 0)
        for position in np.flatnonzero(loud[block]):
            lag = _dip(normal[position], shortest, longest)
            if lag is not None:
                pitch[block.start + position] = SCORE_RATE / lag
    return pitch


def longest_lag() -> int:
    """Samples of the longest period."""
    return int(np.ceil(SCORE_RATE / LOWEST))


def _difference(frames: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """sum_i (x[i] - x[i + lag])^2 over WINDOW samples, [frames, 1 + lags], for lag 0, 1, …"""
    size = 2048
    head = rfft(frames[:, :WINDOW], size)
    product = irfft(np.conj(head) * rfft(frames, size), size)[:, : lags + 1]
    squares = np.cumsum(np.pad(np.square(frames), ((0, 0), (1, 0))), axis=1)
    later = squares[:, WINDOW : WINDOW + lags + 1] - squares[:, : lags + 1]
    return np.maximum(later[:, :1] + later - 2 * product, 0)


def _dip(normal: NDArray[np.float64], shortest: int, longest: int) -> float | None:
    """The lag of the first dip below THRESHOLD, between samples; None where there is none."""
    below = np.flatnonzero(normal[shortest : longest + 1] < THRESHOLD)
    if not len(below):
        return None
    lag = shortest + int(below[0])
    while lag < longest and normal[lag + 1] < normal[lag]:
        lag += 1
    left, middle, right = normal[lag - 1 : lag + 2]
    curvature = left - 2 * middle + right
    return lag + (left - right) / (2 * curvature) if curvature > 0 else float(lag)


F0_RMSE = PitchError(
    name="f0-rmse-yin", label="F0 RMSE", direction="down", unit="cent", low=0.0, high=float("inf"), version="1",
    decimals=1,
)  # fmt: skip
VOICING = VoicingError(
    name="vuv-error-yin", label="V/UV error", direction="down", unit="%", low=0.0, high=100.0, version="1", decimals=2
)

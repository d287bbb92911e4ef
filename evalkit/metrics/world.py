"""Mel-cepstral distortion and F0 correlation by WORLD, as VERSA and ESPnet measure them.

Each has two definitions that papers report under one name. Without `-dtw`, all frames are compared one by one,
including pauses and unvoiced frames; with it, only loud (or voiced) frames are, after warping in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft

from evalkit.audio import Wave
from evalkit.codecs import READY, Availability
from evalkit.environment import extras
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Direction, Pair, PairMetric
from evalkit.metrics.checks import require_length, require_playable

SHORTEST = 3_200
"""Samples: a fifth of a second."""
LOWEST, HIGHEST = 40.0, 800.0
"""Hz of the pitch that is looked for."""
PERIOD = 5.0
"""Milliseconds between frames."""
FFT = 1024
ORDER, WARPING = 39, 0.466
"""Of the mel-cepstrum: coefficients beside the zeroth, and the constant of its all-pass filter."""
CUT = 70.0
"""Hz below which audio is filtered out, by 255 taps."""
QUIET = -20.0
"""dB of the mean power below which a frame is left out before warping."""

Floats = NDArray[np.float64]


class Analysis(NamedTuple):
    """What WORLD makes of a recording, frame by frame."""

    cepstrum: Floats
    """Mel-cepstrum [frames, 40]."""
    pitch: Floats
    """Hz [frames], 0 where a frame is unvoiced."""
    power: Floats
    """dB of the mean power [frames]."""


@dataclass(frozen=True)
class WorldMetric(PairMetric):
    """A comparison of what WORLD makes of both sides."""

    max_seconds: ClassVar[float] = 600.0

    direction: Direction = "down"
    unit: str = ""
    low: float = 0.0
    high: float = float("inf")
    version: str = "1"
    decimals: int = 2
    warped: bool = False

    def availability(self, languages: Sequence[str] = ()) -> Availability:
        wanted = ["pyworld"] + ["fastdtw"] * self.warped
        absent = [package for package in wanted if find_spec(package) is None]
        return Availability("needs extra", extras.install("world")) if absent else READY

    def analyses(self, pair: Pair) -> tuple[Analysis, Analysis]:
        """Those of reference and decoded audio.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        require_length(pair, SHORTEST)
        require_playable(pair)
        return _known(pair.reference), _known(pair.decoded)


@dataclass(frozen=True)
class WorldDistortion(WorldMetric):
    """Mean over frames f of the distance between mel-cepstra c, including the zeroth coefficient (the level):

        MCD = (10 / ln 10) mean_f sqrt(2 sum_{d=0..39} (c_r[f, d] - c_d[f, d])^2)

    c is the mel-cepstrum of order 39 (all-pass constant 0.466) of WORLD's spectral envelope (CheapTrick, 1024 points,
    every 5 ms, F0 by Harvest between 40 and 800 Hz). The audio is scaled by 32767 and high-pass filtered at 70 Hz.

    `mcd-world-39` compares frame by frame; `mcd-world-39-dtw` leaves out frames more than 20 dB below the mean power
    and warps the rest in time (fastdtw, radius 1, Euclidean).

    Range:
        dB, 0 up. Lower is better. The two definitions differ by more than most codecs do.

    Source:
        VERSA (wavlab-speech/versa@c398480), `mcd_f0` with `dtw: false`, its default, and `dtw: true`; after ESPnet.

    Misses:
        Phase. Without warping, a delay counts as distortion.

    Undefined:
        For silence, below 0.2 s and above ten minutes, beyond twice full scale; with warping, also if no frame is
        loud enough.

    Example:
        >>> from evalkit.testing import example_pair
        >>> pair = example_pair()  # speech, and the same with white noise 20 dB below it
        >>> round(MCD_WORLD.score(pair), 1), round(MCD_WORLD_DTW.score(pair), 1)
        (16.4, 13.7)
    """

    unit: str = "dB"

    def score(self, pair: Pair) -> float:
        """dB of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            0 up.

        Raises:
            UndefinedScore: Too short, silent, or not finite; warped, without a loud frame.
            MissingError: pyworld or fastdtw is not installed.
        """
        reference, decoded = (one.cepstrum for one in self.analyses(pair))
        if self.warped:
            loud = [one.cepstrum[one.power > QUIET] for one in self.analyses(pair)]
            if not all(len(one) for one in loud):
                raise UndefinedScore("no frame is loud enough to compare")
            path = _path(loud[1], loud[0])
            reference, decoded = loud[0][path[:, 1]], loud[1][path[:, 0]]
        return float(np.mean(10 / np.log(10) * np.sqrt(2 * np.square(reference - decoded).sum(axis=1))))


@dataclass(frozen=True)
class WorldPitchCorrelation(WorldMetric):
    """Pearson's correlation of the pitch of both sides, in Hz, over frames of 5 ms; pitch by WORLD's Harvest.

    `f0-corr-world` runs over *all* frames, unvoiced ones as 0 Hz, so that it mostly measures voicing;
    `f0-corr-world-dtw` over voiced frames alone, after warping their mel-cepstra in time (fastdtw, radius 1).

    Range:
        -1 to 1, without unit. Higher is better.

    Source:
        VERSA (wavlab-speech/versa@c398480), `mcd_f0` with `dtw: false`, its default, and `dtw: true`; after ESPnet.

    Misses:
        A pitch that is off by a constant or a factor. `f0-rmse-yin` is in cent and over voiced frames.

    Undefined:
        For silence, below 0.2 s and above ten minutes, beyond twice full scale; where one side's pitch is the same
        throughout, as when no frame is voiced.

    Example:
        >>> from evalkit.testing import example_pair
        >>> pair = example_pair()  # speech, and the same with white noise 20 dB below it
        >>> round(F0_CORR_WORLD.score(pair), 1), round(F0_CORR_WORLD_DTW.score(pair), 1)
        (0.4, 0.4)
    """

    direction: Direction = "up"
    low: float = -1.0
    high: float = 1.0
    decimals: int = 3

    def score(self, pair: Pair) -> float:
        """Correlation of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            -1 to 1.

        Raises:
            UndefinedScore: A side without a changing pitch; too short, silent, or not finite.
            MissingError: pyworld or fastdtw is not installed.
        """
        sides = self.analyses(pair)
        reference, decoded = (one.pitch for one in sides)
        if self.warped:
            voiced = [one.cepstrum[one.pitch > 0] for one in sides]
            if not all(len(one) for one in voiced):
                raise UndefinedScore("one of the recordings has no voiced frame")
            path = _path(voiced[1], voiced[0])
            reference, decoded = reference[reference > 0][path[:, 1]], decoded[decoded > 0][path[:, 0]]
        if np.ptp(reference) == 0 or np.ptp(decoded) == 0:
            raise UndefinedScore("one of the recordings has constant pitch or no voiced frame")
        return float(np.clip(np.corrcoef(reference, decoded)[0, 1], -1, 1))


_KNOWN: dict[bytes, Analysis] = {}
"""Of the last recordings: every metric here asks for the same."""


def _known(wav: Wave) -> Analysis:
    key = sha256(wav.tobytes()).digest()
    if key not in _KNOWN:
        _KNOWN[key] = analyse(wav)
        while len(_KNOWN) > 4:
            del _KNOWN[next(iter(_KNOWN))]
    return _KNOWN[key]


def analyse(wav: Wave) -> Analysis:
    """WORLD's analysis of `wav` [T] at 16 kHz."""
    from scipy.signal import firwin, lfilter

    world = extras.load("pyworld", "world")
    samples = lfilter(firwin(255, CUT / (SCORE_RATE // 2), pass_zero=False), 1, wav.astype(np.float64) * 32767)
    pitch, times = world.harvest(samples, SCORE_RATE, f0_floor=LOWEST, f0_ceil=HIGHEST, frame_period=PERIOD)
    envelope = world.cheaptrick(samples, pitch, times, SCORE_RATE, fft_size=FFT)
    power = (envelope[:, 0] + envelope[:, -1] + 2 * envelope[:, 1:-1].sum(axis=1)) / FFT
    return Analysis(mel_cepstrum(envelope), pitch, 10 * np.log10(power / power.mean()))


def mel_cepstrum(envelope: Floats) -> Floats:
    """Mel-cepstrum [frames, 40] of a power spectrum [frames, 1 + FFT / 2]: its cepstrum on a warped frequency axis.

    The cepstrum is taken with its mirrored half, as SPTK's `sp2mc` does, which matters from the sixth digit on.
    """
    cepstrum = irfft(np.log(envelope), axis=1)
    cepstrum[:, 0] /= 2
    return cepstrum @ _warping()


@lru_cache(maxsize=1)
def _warping() -> Floats:
    """What the all-pass filter z^-1 -> (z^-1 - a) / (1 - a z^-1) makes of each cepstral coefficient [1024, 40].

    By the recursion of Oppenheim and Johnson 1972, run on every unit vector at once.
    """
    size, a = FFT, WARPING
    state = np.zeros((ORDER + 1, size))
    for position in reversed(range(size)):
        before = state.copy()
        state[0] = a * before[0]
        state[0, position] += 1
        state[1] = (1 - a * a) * before[0] + a * before[1]
        for order in range(2, ORDER + 1):
            state[order] = before[order - 1] + a * (before[order] - state[order - 1])
    return state.T


def _path(first: Floats, second: Floats) -> NDArray[np.int64]:
    """Pairs of frames [steps, 2] on the path that warps `first` onto `second`."""
    from scipy.spatial.distance import euclidean

    return np.array(extras.load("fastdtw", "world").fastdtw(first, second, dist=euclidean)[1])


MCD_WORLD = WorldDistortion(name="mcd-world-39", label="MCD (WORLD)")
MCD_WORLD_DTW = WorldDistortion(name="mcd-world-39-dtw", label="MCD (WORLD, DTW)", warped=True)
F0_CORR_WORLD = WorldPitchCorrelation(name="f0-corr-world", label="F0 corr.")
F0_CORR_WORLD_DTW = WorldPitchCorrelation(name="f0-corr-world-dtw", label="F0 corr. (DTW)", warped=True)

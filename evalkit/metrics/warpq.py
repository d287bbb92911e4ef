"""WARP-Q: how far patches of decoded speech are from their best match in the reference, for neural codecs."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.codecs import READY, Availability
from evalkit.environment import extras
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Direction, Pair, PairMetric
from evalkit.metrics.checks import clipped, require_length, require_sound
from evalkit.metrics.voice import WINDOW, integers, voiced

FRAME, HOP, FFT = 512, 64, 1024
"""Samples of a frame, between two, and of the FFT: 32, 4 and 64 ms."""
COEFFICIENTS, HIGHEST, LIFTER = 13, 5_000, 3
"""MFCCs of a frame, the highest frequency in Hz that they see, and their liftering."""
PATCH, STEP = 92, 42
"""Frames of a patch (0.4 s) and between two (0.2 s), as librosa.time_to_frames counts them with this FFT."""
NORMALIZED = 201
"""Frames, an odd number around 0.836 s, whose mean and deviation a frame is normalised by."""
STEPS = ((1, 0), (0, 3), (1, 3))
"""Frames of the patch and of the reference by which the warping path may go on."""


@dataclass(frozen=True)
class WarpQ(PairMetric):
    """Median, over patches p of the decoded speech, of the cost of warping p onto its best match in the reference:

        WARP-Q = median_p (1 / 92) min over subsequences of D(p, reference)

    Only speech is compared: WebRTC's detector removes the pauses on each side. Both sides are turned into 13 MFCCs up
    to 5 kHz every 4 ms, normalised to mean 0 and deviation 1 over a sliding window of 0.8 s. Patches are 0.4 s long,
    one every 0.2 s; D is the Euclidean cost of subsequence dynamic time warping with the steps (1, 0), (0, 3), (1, 3).

    Range:
        0 up, without unit; 1.9 to 2.4 for codecs at 0.6 to 2 kbit/s. Lower is better. **A perfect copy has about 0.60
        (0.4 for some synthetic voices), not 0**: the steps cannot follow the diagonal, so even a copy has a cost.

    Source:
        Jassim et al. 2021 (arXiv 2102.10449) and 2022, with the settings of the package `warpq` 1.5.2; own code on
        librosa's features. The package rounds its result to three digits, evalkit does not. VERSA uses other settings
        (8 kHz, no detector) and gets other values.

    Misses:
        Timing and level, by design, and everything in pauses.

    Undefined:
        With less than 0.4 s of speech on either side, for silence, above five minutes, and for audio beyond twice full
        scale; what is above full scale is clipped.

    Example:
        >>> from evalkit.testing import example_pair
        >>> from evalkit.metrics.base import Pair
        >>> pair = example_pair(seconds=3)
        >>> round(WARPQ.score(Pair(pair.reference, pair.reference)), 1)
        0.4
        >>> round(WARPQ.score(pair), 1)  # the same with white noise 20 dB below it
        1.8
    """

    max_seconds: ClassVar[float] = 300.0

    direction: Direction = "down"
    unit: str = ""
    low: float = 0.0
    high: float = float("inf")
    version: str = "1"
    decimals: int = 3

    def availability(self, languages: Sequence[str] = ()) -> Availability:
        absent = [package for package in ("librosa", "webrtcvad") if find_spec(package) is None]
        return Availability("needs extra", extras.install("warpq")) if absent else READY

    def score(self, pair: Pair) -> float:
        """The median cost of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            0 up.

        Raises:
            UndefinedScore: Too little speech, silent, not finite, or far beyond full scale.
            MissingError: librosa or webrtcvad is not installed.
        """
        require_length(pair, 2 * WINDOW)
        require_sound(pair)
        librosa = extras.load("librosa", "warpq")
        reference, decoded = (
            _features(librosa, clipped(wav, what), what)
            for wav, what in ((pair.reference, "reference"), (pair.decoded, "decoded audio"))
        )
        costs = [
            _cost(librosa, decoded[:, start : start + PATCH], reference)
            for start in range(0, decoded.shape[1] - PATCH + 1, STEP)
        ]
        return float(np.median(costs))


def _features(librosa: Any, wav: Wave, what: str) -> NDArray[np.float32]:
    """Normalised MFCCs [13, frames] of the speech in `wav` [T]."""
    speech = wav[np.repeat(_active(wav), WINDOW)[: len(wav)]]
    if len(speech) < 0.4 * SCORE_RATE:
        raise UndefinedScore(f"less than 0.4 s of speech in the {what}: WARP-Q's patch")
    found = librosa.feature.mfcc(
        y=speech, sr=SCORE_RATE, n_mfcc=COEFFICIENTS, fmax=HIGHEST, n_fft=FFT, win_length=FRAME, hop_length=HOP,
        lifter=LIFTER,
    )  # fmt: skip
    centred = (found - _window(found).mean(axis=2)).astype(np.float32)
    return (centred / (_window(centred).std(axis=2) + 2**-30)).astype(np.float32)


def _active(wav: Wave) -> NDArray[np.bool_]:
    """Whether each window of 30 ms, the last one filled up, is speech or next to it."""
    padded = np.pad(integers(wav, 32768), (0, (len(wav) // WINDOW + 1) * WINDOW - len(wav)))
    return np.convolve(voiced(padded, 0, "warpq"), np.ones(3), mode="same") > 0.5


def _window(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """View [13, frames, NORMALIZED] of each frame's neighbours, mirrored beyond the ends."""
    reach = NORMALIZED // 2
    return sliding_window_view(np.pad(features, ((0, 0), (reach, reach)), mode="symmetric"), NORMALIZED, axis=1)


def _cost(librosa: Any, patch: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Cost of the best match of `patch` in `reference`, for each frame of the patch."""
    costs = librosa.sequence.dtw(
        X=patch, Y=reference, metric="euclidean", step_sizes_sigma=np.array(STEPS), weights_mul=np.ones(3),
        subseq=True, backtrack=False,
    )  # fmt: skip
    return float(costs[-1].min() / patch.shape[1])


WARPQ = WarpQ(name="warpq", label="WARP-Q")

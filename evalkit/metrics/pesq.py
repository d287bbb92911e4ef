"""PESQ: how good the decoded speech sounds beside the reference, as a listening panel would rate it."""

from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite
from typing import ClassVar, Literal

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Direction, Pair, PairMetric
from evalkit.metrics.checks import require_length, require_sound

FAILURES = {
    -1: "Unknown: the PESQ code gave no reason",
    -2: "InvalidSampleRateError: the sampling rate is not 16 kHz",
    -3: "OutOfMemoryError: no memory for the reference",
    -4: "OutOfMemoryError: no memory for the decoded audio",
    -5: "OutOfMemoryError: no memory for temporary buffers",
    -6: "BufferTooShortError: shorter than 1/4 s",
    -7: "NoUtterancesError: no speech was found",
}
"""What the `pesq` package returns instead of a score."""


@dataclass(frozen=True)
class PESQ(PairMetric):
    """Perceptual evaluation of speech quality, mapped to MOS-LQO (mean opinion score, listening quality, objective).

    Both signals are level- and time-aligned, filtered as a telephone or headphone does, taken through a model of
    loudness, and compared; a logistic curve maps the raw score x, from -0.5 to 4.5:

        pesq-wb:       0.999 + 4 / (1 + exp(3.8224 - 1.3669 x))        ITU-T P.862.2
        pesq-nb-16k:   0.999 + 4 / (1 + exp(4.6607 - 1.4945 x))        ITU-T P.862.1

    `pesq-nb-16k` is what papers on codecs call PESQ-NB: the narrow-band mapping and filter on audio at 16 kHz. On audio
    at 8 kHz, which no published table uses, it is 0.07 to 0.11 higher at low bitrates.

    Range:
        MOS-LQO, 1 to 4.65; a perfect copy has 4.644 (wide band) or 4.549 (narrow band). Higher is better.

    Source:
        The ITU's C code in the package `pesq`; its scores are passed on unchanged. The package scales both signals by
        their common peak, so changing the level of both together does not matter.

    Misses:
        Codecs that regenerate the phase, such as vocoders, score low at any quality. It was made for telephone speech.

    Undefined:
        Below 1/4 s and above 10 minutes (its time grows faster than the length: 10 minutes of audio take more than a
        minute); for silence on either side (the package gives NaN for silent decoded audio); where no speech is found;
        for NaN.

        The C code has room for 50 bursts of speech and writes beyond it: audio with more of them (60 are enough, about
        100 s) can crash the *process* with a segmentation fault, which no caller can catch. Metrics therefore run in
        worker processes (evalkit/pipeline/workers.py), and a crash costs one row.

    Example:
        >>> from evalkit.testing import example_pair
        >>> pair = example_pair()  # speech, and the same with white noise 20 dB below it
        >>> round(PESQ_WB.score(pair), 1), round(PESQ_NB.score(pair), 1)
        (1.3, 2.0)
    """

    imports: ClassVar[tuple[str, ...]] = ("pesq",)
    max_seconds: ClassVar[float] = 600.0

    direction: Direction = "up"
    unit: str = "MOS-LQO"
    low: float = 1.0
    high: float = 4.65
    version: str = f"1 (pesq {version('pesq')})"
    decimals: int = 3
    mode: Literal["wb", "nb"] = "wb"

    def score(self, pair: Pair) -> float:
        """MOS-LQO of `pair`.

        Args:
            pair: Reference and decoded audio [T] at 16 kHz.

        Returns:
            1 to 4.65.

        Raises:
            UndefinedScore: Too short, silent, or without speech.
        """
        import pesq

        require_length(pair, SCORE_RATE // 4, "too short for PESQ")
        require_sound(pair)
        value = pesq.pesq(SCORE_RATE, pair.reference, pair.decoded, self.mode, on_error=pesq.PesqError.RETURN_VALUES)
        if not isfinite(value):
            raise UndefinedScore("PESQ is not a number: the decoded audio is nearly silent")
        if value < 0:
            raise UndefinedScore(FAILURES.get(int(value), f"PESQ failed with code {value}"))
        return float(value)


PESQ_WB = PESQ(name="pesq-wb", label="PESQ-WB")
PESQ_NB = PESQ(name="pesq-nb-16k", label="PESQ-NB (16 kHz)", mode="nb")

"""PESQ, wide band: how good the decoded speech sounds beside the reference, as a listening panel would rate it."""

from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Pair, PairMetric
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

    Both signals are level- and time-aligned, taken through a model of hearing, and compared; a logistic curve maps the
    raw score x to `0.999 + 4 / (1 + exp(3.8224 - 1.3669 x))`. Values lie in [1, 4.65]; a perfect copy has 4.644.

    Source: ITU-T P.862.2 (wide band), in the C code that the `pesq` package wraps; its scores are passed on as they
    are. The package scales both signals by their joint peak, so a level common to both does not matter.

    Undefined for pairs below 1/4 s, for silence on either side (the package would give NaN for silent decoded audio),
    where no speech is found, and for NaN.

    The C code has room for 50 utterances and writes beyond it: audio with more bursts of speech (60 are enough, about
    100 s) can end the *process* by a segmentation fault. No caller can catch that; metrics run in worker
    processes (evalkit/pipeline/workers.py), and a crash costs one row.
    """

    def score(self, pair: Pair) -> float:
        """MOS-LQO of `pair`."""
        import pesq

        require_length(pair, SCORE_RATE // 4, "PESQ is not defined there")
        require_sound(pair)
        value = pesq.pesq(SCORE_RATE, pair.reference, pair.decoded, "wb", on_error=pesq.PesqError.RETURN_VALUES)
        if not isfinite(value):
            raise UndefinedScore("PESQ is not a number: the decoded audio is all but silent")
        if value < 0:
            raise UndefinedScore(FAILURES.get(int(value), f"PESQ failed with code {value}"))
        return float(value)


PESQ_WB = PESQ(
    name="pesq-wb",
    label="PESQ-WB",
    direction="up",
    unit="MOS-LQO",
    low=1.0,
    high=4.65,
    version=f"1 (pesq {version('pesq')})",
    decimals=3,
)

"""What training is validated by: `scorer: evalkit.metrics.validation:score` in a configuration of `nanocodec train`."""

import numpy as np
import soxr
from numpy.typing import NDArray

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.mel import PAPER
from evalkit.metrics.pesq import PESQ_WB
from evalkit.metrics.stoi import ESTOI

METRICS = {"pesq_wb": PESQ_WB, "estoi": ESTOI, "mel": PAPER}


def score(reference: NDArray[np.float32], decoded: NDArray[np.float32], sample_rate: int) -> dict[str, float]:
    """Score one reconstruction.

    Args:
        reference: [T], mono.
        decoded: [T], mono.
        sample_rate: of both, in Hz; both are resampled to 16 kHz by soxr (HQ).

    Returns:
        `pesq_wb` (1 to 4.64), `estoi` (up to 1) and `mel` (from 0), without those that are undefined for the pair.
    """
    pair = Pair(*(soxr.resample(wave, sample_rate, SCORE_RATE, quality="HQ") for wave in (reference, decoded)))
    values = {}
    for name, metric in METRICS.items():
        try:
            values[name] = metric.score(pair)
        except UndefinedScore:
            continue
    return values

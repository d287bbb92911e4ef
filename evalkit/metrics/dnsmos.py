"""DNSMOS (Reddy et al. 2021, arXiv 2010.15258; with P.835: 2022, arXiv 2110.01763): opinion scores predicted from the
decoded audio alone, by Microsoft's models as the package `speechmos` ships them (MIT).

Made for noise suppression: they rate silence 1.8 and may rate added noise up. Not SQMOS, and no stand-in for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import require_length, require_sound
from evalkit.metrics.model import ModelMetric, Scorer

HEADS = {"ovrl": "ovrl_mos", "sig": "sig_mos", "bak": "bak_mos", "p808": "p808_mos"}
"""Row name -> what the package calls it."""
SHORTEST = 1_600
"""Samples: a tenth of a second."""


class Raters(Scorer):
    """The models, open."""

    def __init__(self) -> None:
        super().__init__()
        self._run = extras.load("speechmos.dnsmos", "dnsmos").run

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The ratings [4]; samples beyond full scale are clipped, as in any player."""
        rated = (self._run(np.clip(wav, -1, 1), sr=SCORE_RATE) for wav in wavs)
        return [np.array([one[name] for name in HEADS.values()], np.float64) for one in rated]

    def score(self, metric: "Dnsmos", pair: Pair) -> Mapping[str, float]:
        """One of the four ratings."""
        require_length(pair, SHORTEST)
        require_sound(pair)
        return {metric.name: float(self.features(pair.decoded)[list(HEADS).index(metric.head)])}


@dataclass(frozen=True)
class Dnsmos(ModelMetric):
    """Predicted mean opinion score, 1 to 5, by head: `ovrl` (overall), `sig` (speech) and `bak` (background) of P.835,
    `p808` of P.808. The original plays no part. The package repeats audio that is shorter than 9 s, and rates longer
    audio in windows and averages. Undefined for silence and for less than 0.1 s.
    """

    head: str = "ovrl"

    @property
    def model(self) -> str:
        return "dnsmos"

    def open(self, device: str) -> Raters:
        return Raters()


def _metric(head: str) -> Dnsmos:
    return Dnsmos(
        name=f"dnsmos-{head}",
        label=f"DNSMOS {head.upper()}",
        direction="up",
        unit="MOS",
        low=1.0,
        high=5.0,
        version="1 speechmos 0.0.1.1",
        decimals=2,
        files=(),
        packages=("speechmos", "onnxruntime"),
        extra="dnsmos",
        head=head,
    )


OVRL, SIG, BAK, P808 = (_metric(head) for head in HEADS)

"""DNSMOS: opinion scores predicted from the decoded audio alone, by Microsoft's models for noise suppression."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import clipped, require_length, require_sound
from evalkit.metrics.model import ModelMetric, Scorer

HEADS = {"ovrl": "ovrl_mos", "sig": "sig_mos", "bak": "bak_mos", "p808": "p808_mos"}
"""Row name -> what the package calls it."""
SHORTEST = 1_600
"""Samples: a tenth of a second."""


class DnsmosModel(Scorer):
    """The models, open."""

    def __init__(self) -> None:
        super().__init__()
        self._run = extras.load("speechmos.dnsmos", "dnsmos").run

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The ratings [4]."""
        rated = (self._run(clipped(wav), sr=SCORE_RATE) for wav in wavs)
        return [np.array([one[name] for name in HEADS.values()], np.float64) for one in rated]

    def score(self, metric: "Dnsmos", pair: Pair) -> Mapping[str, float]:
        """One of the four ratings.

        Raises:
            UndefinedScore: Too short, silent, not finite, or far beyond full scale.
        """
        require_length(pair, SHORTEST)
        require_sound(pair)
        return {metric.name: float(self.features(pair.decoded)[list(HEADS).index(metric.head)])}


@dataclass(frozen=True)
class Dnsmos(ModelMetric):
    """Predicted mean opinion score, by head: `ovrl` (overall), `sig` (speech) and `bak` (background) of P.835, `p808`
    of P.808. The original is not used. The package repeats audio shorter than 9 s; it rates longer audio in windows and
    averages them.

    Range:
        MOS, 1 to 5. Higher is better.

    Source:
        Reddy et al. 2021 (arXiv 2010.15258), with P.835: 2022 (arXiv 2110.01763), as the package `speechmos` ships the
        models (MIT).

    Misses:
        What the codec changed. It was made for noise suppression and does not rank codecs: over eleven systems, its
        rank correlation with PESQ-WB is 0.06 to 0.08, and some are rated above the original. It gives silence 1.8 and
        may rate noisier audio higher. It does not replace SQMOS.

    Undefined:
        For silence, below 0.1 s and above half an hour, and for audio beyond twice full scale; samples above full scale
        are clipped.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = OVRL.open("cpu")
        >>> round(model.score(OVRL, example_pair())["dnsmos-ovrl"], 1)
        2.2
    """

    ranks: ClassVar[bool] = False
    note: ClassVar[str] = (
        "DNSMOS was made for noise suppression and does not rank codecs: it rates some above the original."
    )
    uses_reference: ClassVar[bool] = False
    max_seconds: ClassVar[float] = 1_800.0

    head: str = "ovrl"

    @property
    def model(self) -> str:
        return "dnsmos"

    def open(self, device: str) -> DnsmosModel:
        return DnsmosModel()


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

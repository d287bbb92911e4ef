"""PLCMOS: the opinion of listeners on packet loss concealment, as predicted by Microsoft's model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.metrics.base import Pair
from evalkit.metrics.checks import clipped, require_length, require_playable
from evalkit.metrics.model import ModelMetric, Scorer

SHORTEST = 3_200
"""Samples: a fifth of a second."""
RATERS = 15
"""Random raters whose opinions are averaged, as in the package."""


class PlcmosModel(Scorer):
    """PLCMOS, open."""

    def __init__(self) -> None:
        super().__init__()
        self._model = extras.load("speechmos.plcmos", "dnsmos").PLCMOS(embed_rounds=RATERS)

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The opinions, each of shape []."""
        return [np.array(self._rate(clipped(wav))) for wav in wavs]

    def _rate(self, wav: Wave) -> float:
        """The mean over raters. The package draws them from numpy's global state: it is seeded, and then put back."""
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return float(self._model.get_mos(wav))
        finally:
            np.random.set_state(state)

    def score(self, metric: "Plcmos", pair: Pair) -> Mapping[str, float]:
        """The predicted opinion of the decoded audio.

        Raises:
            UndefinedScore: Too short, silent, not finite, or far beyond full scale.
        """
        require_length(pair, SHORTEST)
        require_playable(pair)
        return {metric.name: float(self.features(pair.decoded))}


@dataclass(frozen=True)
class Plcmos(ModelMetric):
    """Predicted mean opinion score of the decoded audio, sensitive to gaps: the mean over 15 random raters, drawn
    from seed 0. The original is not used.

    Range:
        MOS, 1 to 5. Higher is better.

    Source:
        Diener et al. 2023 (arXiv 2305.15127), version 2, as the package `speechmos` ships it (MIT). Two calls of the
        package differ by 0.05, because it sets no seed.

    Misses:
        What the codec changed: it does not rank codecs (over eleven systems, its rank correlation with PESQ-WB is 0.11,
        and some are rated above the original). It detects artefacts.

    Undefined:
        For silence, below 0.2 s and above ten minutes, and for audio beyond twice full scale; samples above full scale
        are clipped.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = PLCMOS.open("cpu")
        >>> round(model.score(PLCMOS, example_pair())["plcmos"], 1)
        2.5
    """

    ranks: ClassVar[bool] = False
    note: ClassVar[str] = "PLCMOS detects artefacts but does not rank codecs: it rates some above the original."
    uses_reference: ClassVar[bool] = False
    max_seconds: ClassVar[float] = 600.0

    @property
    def model(self) -> str:
        return "plcmos"

    def open(self, device: str) -> PlcmosModel:
        return PlcmosModel()


PLCMOS = Plcmos(
    name="plcmos",
    label="PLCMOS",
    direction="up",
    unit="MOS",
    low=float("-inf"),
    high=float("inf"),
    version="1 (speechmos 0.0.1.1)",
    decimals=2,
    files=(),
    packages=("speechmos", "onnxruntime"),
    extra="dnsmos",
)

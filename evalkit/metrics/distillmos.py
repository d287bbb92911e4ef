"""DistillMOS: the mean opinion score of decoded audio, predicted by a small model whose weights are in its package."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.metrics.base import Pair
from evalkit.metrics.checks import require_length, require_playable
from evalkit.metrics.model import ModelMetric, Scorer

SHORTEST = 16_000
"""Samples: a second. The package fills up to 7.68 s with zeros, and rates what is shorter as if it broke off."""


class DistillmosModel(Scorer):
    """DistillMOS, open."""

    def __init__(self, device: str) -> None:
        super().__init__()
        with extras.absent("torchaudio"):  # only its command line reads audio with it
            package = extras.load("distillmos", "distillmos")
        with contextlib.redirect_stdout(io.StringIO()):  # it says which weights it has loaded
            self._network = package.ConvTransformerSQAModel().to(device).eval()
        self._device = device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The scores, each of shape []."""
        import torch

        with torch.inference_mode():
            return [self._network(torch.from_numpy(wav[None].copy()).to(self._device)).cpu().numpy()[0] for wav in wavs]

    def score(self, metric: "Distillmos", pair: Pair) -> Mapping[str, float]:
        """The predicted opinion of the decoded audio.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        require_length(pair, SHORTEST)
        require_playable(pair)
        return {metric.name: float(self.features(pair.decoded).reshape(()))}


@dataclass(frozen=True)
class Distillmos(ModelMetric):
    """Predicted mean opinion score of the decoded audio, averaged over windows of 7.68 s that start a second or less
    apart and are each scaled to their peak. The original is not used, and the level does not matter.

    Range:
        MOS, 1 to 5. Higher is better.

    Source:
        Stahl and Gamper 2025 (arXiv 2502.05356), Microsoft's package `distillmos` 0.9.1 (MIT), which includes the
        weights.

    Misses:
        What the codec changed: it does not rank codecs (over eleven systems, its rank correlation with PESQ-WB is 0.16,
        and some are rated above the original). Short audio scores low: 4.03 for one second of a recording that
        scores 4.61.

    Undefined:
        For silence, below a second, above ten minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = DISTILLMOS.open("cpu")
        >>> round(model.score(DISTILLMOS, example_pair())["distillmos"], 1)
        3.3
    """

    ranks: ClassVar[bool] = False
    note: ClassVar[str] = "DistillMOS detects artefacts but does not rank codecs: it rates some above the original."
    uses_reference: ClassVar[bool] = False
    max_seconds: ClassVar[float] = 600.0

    @property
    def model(self) -> str:
        return "distillmos"

    def open(self, device: str) -> DistillmosModel:
        return DistillmosModel(device)


DISTILLMOS = Distillmos(
    name="distillmos",
    label="DistillMOS",
    direction="up",
    unit="MOS",
    low=1.0,
    high=5.0,
    version="1 (distillmos 0.9.1)",
    decimals=2,
    files=(),
    packages=("distillmos", "xls_r_sqa"),
    extra="distillmos",
)

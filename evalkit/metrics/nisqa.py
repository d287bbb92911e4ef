"""NISQA: opinion scores predicted from the decoded audio alone, by torchmetrics with the authors' weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import require_length, require_sound
from evalkit.metrics.model import ModelMetric, Scorer

HEADS = ("mos", "noisiness", "discontinuity", "coloration", "loudness")
"""In the model's order."""
SHORTEST = 2_400
"""Samples: 15 frames of 10 ms, the model's window."""
WEIGHTS = File(
    "nisqa.tar",
    "CC BY-NC-SA 4.0 (non-commercial)",
    1_051_663,
    url="https://github.com/gabrielmittag/NISQA/raw/fe84f0f252abec382b24367d5b22498a7ce34dbb/weights/nisqa.tar",
    kept="home:.torchmetrics/NISQA/nisqa.tar",
    sha256="7ec4cf937514dd3f8860b21e66fabd8ca87a168572675ef8d979c4c4ad2e805c",
)
"""Kept where torchmetrics looks for it, which would download what is not there, and verify nothing."""


class NisqaModel(Scorer):
    """NISQA, open."""

    def __init__(self) -> None:
        super().__init__()
        package = extras.load("torchmetrics.functional.audio.nisqa", "nisqa")
        self._rate = package.non_intrusive_speech_quality_assessment

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The ratings [5]."""
        import torch

        try:
            return list(self._rate(torch.from_numpy(np.stack(wavs)), SCORE_RATE).numpy())
        except RuntimeError as error:
            if "Maximum number of mel spectrogram windows" in str(error):
                raise UndefinedScore("longer than the 52 s that NISQA accepts") from error
            raise

    def score(self, metric: "Nisqa", pair: Pair) -> Mapping[str, float]:
        """One of the five ratings.

        Raises:
            UndefinedScore: Too short, too long, silent, or not finite.
        """
        require_length(pair, SHORTEST, "NISQA's window")
        require_sound(pair)
        return {metric.name: float(self.features(pair.decoded)[HEADS.index(metric.head)])}


@dataclass(frozen=True)
class Nisqa(ModelMetric):
    """Predicted mean opinion score, by head: `mos` (overall), `noisiness`, `discontinuity`, `coloration`, `loudness`,
    where 5 is free of the fault. The original is not used. Runs on the CPU.

    Range:
        MOS, 1 to 5. Higher is better.

    Source:
        Mittag et al. 2021 (arXiv 2104.09494), by torchmetrics with the authors' weights (CC BY-NC-SA 4.0).

    Misses:
        What the codec changed. It was made for speech with a bandwidth of 20 kHz but gets audio at 16 kHz here, like
        most metrics. It does not replace SQMOS.

    Undefined:
        For silence, for less than 0.15 s and for more than 52 s.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = MOS.open("cpu")  # doctest: +SKIP
        >>> model.score(MOS, example_pair())  # doctest: +SKIP
        {'nisqa-mos': 3.2}
    """

    uses_reference: ClassVar[bool] = False
    head: str = "mos"

    @property
    def model(self) -> str:
        return "nisqa"

    def open(self, device: str) -> NisqaModel:
        self.files[0].open()
        return NisqaModel()


def _metric(head: str) -> Nisqa:
    return Nisqa(
        name=f"nisqa-{head}",
        label=f"NISQA {head.upper() if head == 'mos' else head}",
        direction="up",
        unit="MOS",
        low=1.0,
        high=5.0,
        version="1",
        decimals=2,
        files=(WEIGHTS,),
        packages=("torchmetrics", "librosa", "requests"),
        extra="nisqa",
        head=head,
    )


MOS, NOISINESS, DISCONTINUITY, COLORATION, LOUDNESS = (_metric(head) for head in HEADS)

"""UTMOS: the mean opinion score that listeners would give the decoded audio alone, as predicted by a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment.downloads import File
from evalkit.metrics.base import Pair
from evalkit.metrics.checks import require_length, require_playable
from evalkit.metrics.model import ModelMetric, Scorer

if TYPE_CHECKING:
    from evalkit.metrics.networks.utmos import Utmos

SHORTEST = 1_600
"""Samples: a tenth of a second."""
RELEASE = "https://github.com/tarepan/SpeechMOS/releases/download/v1.0.0/"
WEIGHTS = "utmos22_strong_step7459_v1.pt"


class UtmosModel(Scorer):
    """UTMOS, open."""

    def __init__(self, network: "Utmos", device: str) -> None:
        super().__init__()
        self._network, self._device = network.to(device), device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The scores, each of shape []."""
        import torch

        with torch.inference_mode():
            return list(self._network(torch.from_numpy(np.stack(wavs)).to(self._device)).cpu().numpy())

    def score(self, metric: "Utmos22", pair: Pair) -> Mapping[str, float]:
        """The predicted opinion of the decoded audio.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        require_length(pair, SHORTEST)
        require_playable(pair)
        return {metric.name: float(self.features(pair.decoded))}


@dataclass(frozen=True)
class Utmos22(ModelMetric):
    """Predicted mean opinion score of the decoded audio: 2 m + 3, where m is the mean over frames of the output of a
    recurrent network on wav2vec 2.0. The original is not used; the level is not changed.

    This is what papers call UTMOS. The network is our own (networks/utmos.py) and loads SpeechMOS's weights: it needs
    only torch, and imports neither of the packages called `speechmos`.

    Range:
        MOS, about 1 to 4.6. Higher is better.

    Source:
        Saeki et al. 2022 (arXiv 2204.02152), strong learner; tarepan/SpeechMOS v1.2.0 (MIT), the weights of its
        release v1.0.0, which all publications with "utmos22_strong" use.

    Misses:
        Words and voice. It measures how clean speech sounds, not how faithful it is: good codecs at low rates score
        *above* the original (LibriSpeech test-clean itself has 4.09).

    Undefined:
        For silence, for less than 0.1 s, above two minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = UTMOS22_STRONG.open("cpu")  # doctest: +SKIP
        >>> model.score(UTMOS22_STRONG, example_pair())  # doctest: +SKIP
        {'utmos22-strong': 3.4}
    """

    uses_reference: ClassVar[bool] = False

    @property
    def model(self) -> str:
        return self.name

    def open(self, device: str) -> UtmosModel:
        from evalkit.metrics.networks import states, utmos

        return UtmosModel(utmos.Utmos.of(states.read_state(self.files[0].open())), device)


UTMOS22_STRONG = Utmos22(
    name="utmos22-strong",
    label="UTMOS",
    direction="up",
    unit="MOS",
    low=float("-inf"),
    high=float("inf"),
    version="1",
    decimals=3,
    files=(
        File(
            WEIGHTS,
            "MIT",
            411_179_119,
            url=RELEASE + WEIGHTS,
            kept=f"torch:checkpoints/{WEIGHTS}",
            sha256="38aa51ab79e2a4e09a1449758a4b37e9cbb2e8235a49662a732d33a9ba1e9bff",
        ),
    ),
    packages=(),
)

"""SQUIM (Kumar et al. 2023, arXiv 2304.01448): opinion and quality scores, predicted by the models of torchaudio.

`sqmos` is the SQMOS of the NanoCodec paper: SQUIM's subjective model, which compares with a clean recording that need
not say the same (after NORESQA-MOS, Manocha and Kumar 2022). Which recording is a choice that changes the scores. Here
it is the original of the same utterance, as in VERSA and NeMo, or with `sqmos:reference=PATH` one clip for all; what
the paper took is not known. `squim-stoi`, `squim-pesq` and `squim-si-sdr` are the objective model's guesses at those
metrics from the decoded audio alone: estimates, and no stand-ins for the metrics.

The weights are torchaudio's, the networks our own (networks/squim.py): torch is all they need.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment.downloads import File
from evalkit.errors import UsageError
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import require_length, require_sound
from evalkit.metrics.model import ModelMetric, Scorer

if TYPE_CHECKING:
    from evalkit.metrics.networks import squim

SHORTEST = 1_600
"""Samples: a tenth of a second."""
HOST = "https://download.pytorch.org/torchaudio/models/"
HEADS = ("stoi", "pesq", "si-sdr")
"""Of the objective model, in its order."""


class SubjectiveModel(Scorer):
    """SQUIM's subjective model, open."""

    def __init__(self, network: "squim.Subjective", fixed: Wave | None, device: str) -> None:
        super().__init__()
        self._network, self._fixed, self._device = network.to(device), fixed, device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """Features [N, 32]."""
        import torch

        with torch.inference_mode():
            return list(self._network.features(torch.from_numpy(np.stack(wavs)).to(self._device)).cpu().numpy())

    def reference(self, metric: "Sqmos", pair: Pair) -> Wave:
        """The clean recording, repeated or cut to the length of the decoded audio."""
        return np.resize(pair.reference if self._fixed is None else self._fixed, len(pair.decoded))

    def score(self, metric: "Sqmos", pair: Pair) -> Mapping[str, float]:
        """5 minus the predicted difference.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        import torch

        require_length(pair, SHORTEST)
        require_sound(pair)
        sides = (self.features(self.reference(metric, pair)), self.features(pair.decoded))
        with torch.inference_mode():
            reference, decoded = (torch.from_numpy(side)[None].to(self._device) for side in sides)
            return {metric.name: 5 - self._network.difference(reference, decoded).item()}


@dataclass(frozen=True)
class Sqmos(ModelMetric):
    """Predicted mean opinion score of the decoded audio beside a clean recording: 5 - d, where d is the difference that
    SQUIM's subjective model predicts. The clean recording is the original or, with `reference=PATH`, one clip for all
    utterances (resampled to 16 kHz); it is repeated or cut to the length of the decoded audio.

    Range:
        MOS, 1 to 5. Higher is better.

    Source:
        torchaudio's `SQUIM_SUBJECTIVE` (weights CC BY-NC 4.0); the metric of the NanoCodec paper (arXiv 2508.05835).

    Misses:
        Words and voice: the clean recording need not match. An identical copy need not score best.

    Undefined:
        For silence, for less than 0.1 s and above two minutes.

    Options:
        `reference=PATH`: the clean recording for every utterance.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SQMOS.open("cpu")  # doctest: +SKIP
        >>> model.score(SQMOS, example_pair())  # doctest: +SKIP
        {'sqmos': 4.1}
    """

    @property
    def choices(self) -> dict[str, str]:
        return {"reference": "original"} | dict(self.settings)

    @property
    def model(self) -> str:
        return self.name

    def check_options(self, options: Mapping[str, str]) -> dict[str, str]:
        from evalkit.soundfiles import read

        if set(options) != {"reference"}:
            raise UsageError(f"{self.name} takes reference=PATH, not {', '.join(sorted(options))}")
        return dict(options) | {"reference_pcm": read(options["reference"]).pcm_hash()}

    def open(self, device: str) -> SubjectiveModel:
        from evalkit.metrics.networks import squim, states
        from evalkit.soundfiles import read

        clip = dict(self.settings).get("reference")
        network = squim.Subjective.of(states.read_state(self.files[0].open()))
        return SubjectiveModel(network, None if clip is None else read(clip).at(SCORE_RATE).wav, device)


class ObjectiveModel(Scorer):
    """SQUIM's objective model, open."""

    def __init__(self, network: "squim.Objective", device: str) -> None:
        super().__init__()
        self._network, self._device = network.to(device), device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The three estimates [3]."""
        import torch

        with torch.inference_mode():
            return list(self._network(torch.from_numpy(np.stack(wavs)).to(self._device)).cpu().numpy())

    def score(self, metric: "SquimObjective", pair: Pair) -> Mapping[str, float]:
        """One of the three estimates.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        require_length(pair, SHORTEST)
        require_sound(pair)
        return {metric.name: float(self.features(pair.decoded)[HEADS.index(metric.head)])}


@dataclass(frozen=True)
class SquimObjective(ModelMetric):
    """STOI, PESQ or SI-SDR as predicted by SQUIM's objective model from the decoded audio alone.

    Range:
        STOI 0 to 1, PESQ 1 to 4.64 MOS-LQO, SI-SDR in dB. Higher is better.

    Source:
        torchaudio's `SQUIM_OBJECTIVE` (weights CC BY 4.0), trained on noisy and enhanced speech (DNS 2020).

    Misses:
        What the codec changed: the original is not used, and codecs were not in the training data.

    Undefined:
        For silence, for less than 0.1 s and above two minutes.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SQUIM_PESQ.open("cpu")  # doctest: +SKIP
        >>> model.score(SQUIM_PESQ, example_pair())  # doctest: +SKIP
        {'squim-pesq': 2.6}
    """

    uses_reference: ClassVar[bool] = False
    head: str = "stoi"

    @property
    def model(self) -> str:
        return "squim-objective"

    def open(self, device: str) -> ObjectiveModel:
        from evalkit.metrics.networks import squim, states

        return ObjectiveModel(squim.Objective.of(states.read_state(self.files[0].open())), device)


def _weights(name: str, license: str, size: int, sha256: str | None = None) -> tuple[File, ...]:
    return (File(name, license, size, url=HOST + name, kept=f"torch:torchaudio/models/{name}", sha256=sha256),)


SQMOS = Sqmos(
    name="sqmos",
    label="SQMOS",
    direction="up",
    unit="MOS",
    low=1.0,
    high=5.0,
    version="1",
    decimals=3,
    files=_weights("squim_subjective_bvcc_daps.pth", "CC BY-NC 4.0 (non-commercial)", 377_000_000),
    packages=(),
)


def _objective(head: str, unit: str, low: float, high: float) -> SquimObjective:
    sha256 = "2c54586fea83fb5eb5394d710038ee89f55cab7011a5bf730bebed4c8777e828"
    return SquimObjective(
        name=f"squim-{head}",
        label=f"{head.upper()} (SQUIM)",
        direction="up",
        unit=unit,
        low=low,
        high=high,
        version="1",
        decimals=3,
        files=_weights("squim_objective_dns2020.pth", "CC BY 4.0", 29_584_237, sha256),
        packages=(),
        head=head,
    )


SQUIM_STOI = _objective("stoi", "", 0.0, 1.0)
SQUIM_PESQ = _objective("pesq", "MOS-LQO", 1.0, 5.0)
SQUIM_SI_SDR = _objective("si-sdr", "dB", float("-inf"), float("inf"))

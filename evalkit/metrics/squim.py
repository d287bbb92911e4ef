"""SQUIM (Kumar et al. 2023, arXiv 2304.01448): opinion and quality scores as torchaudio's models predict them.

`sqmos` is the SQMOS of the NanoCodec paper: SQUIM's subjective model, which compares with a clean recording that need
not say the same (after NORESQA-MOS, Manocha and Kumar 2022). Which recording is a choice that changes the scores. Here
it is the original of the same utterance, as in VERSA and NeMo, or with `sqmos:reference=PATH` one clip for all; what
the paper took is not known. `squim-stoi`, `squim-pesq` and `squim-si-sdr` are the objective model's guesses at those
metrics from the decoded audio alone: estimates, and no stand-ins for the metrics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import UsageError
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import require_length
from evalkit.metrics.model import ModelMetric, Scorer

SHORTEST = 1_600
"""Samples: a tenth of a second."""
HOST = "https://download.pytorch.org/torchaudio/models/"
HEADS = ("stoi", "pesq", "si-sdr")
"""Of the objective model, in its order."""


class Subjective(Scorer):
    """SQUIM's subjective model, open."""

    def __init__(self, model: Any, fixed: Wave | None, device: str) -> None:
        super().__init__()
        self._model, self._fixed, self._device = model.to(device).eval(), fixed, device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """Features [N, 32]."""
        import torch

        with torch.inference_mode():
            layers, _ = self._model.ssl_model.extract_features(torch.from_numpy(np.stack(wavs)).to(self._device))
            return list(self._model.projector(layers[-1]).cpu().numpy())

    def reference(self, metric: "Sqmos", pair: Pair) -> Wave:
        """The clean recording, repeated or cut to the length of the decoded audio."""
        return np.resize(pair.reference if self._fixed is None else self._fixed, len(pair.decoded))

    def score(self, metric: "Sqmos", pair: Pair) -> Mapping[str, float]:
        """5 minus the predicted difference."""
        import torch

        require_length(pair, SHORTEST)
        sides = (self.features(self.reference(metric, pair)), self.features(pair.decoded))
        with torch.inference_mode():
            features = torch.from_numpy(np.concatenate(sides, axis=1))[None].to(self._device)
            return {metric.name: float(5 - self._model.predictor(features)[0])}


@dataclass(frozen=True)
class Sqmos(ModelMetric):
    """Predicted mean opinion score, 1 to 5, of the decoded audio beside a clean recording: 5 - d, with d the difference
    that SQUIM's subjective model predicts. The recording is the original, or one clip with `reference=PATH` (resampled
    to 16 kHz), repeated or cut to the length of the decoded audio.

    Padding changes the features of all frames: only recordings of one length are heard at once. Undefined for less than
    0.1 s.
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

    def open(self, device: str) -> Subjective:
        from evalkit.soundfiles import read

        clip = dict(self.settings).get("reference")
        model = _load("squim_subjective_base", self.files[0])
        return Subjective(model, None if clip is None else read(clip).at(SCORE_RATE).wav, device)


class Objective(Scorer):
    """SQUIM's objective model, open."""

    def __init__(self, model: Any, device: str) -> None:
        super().__init__()
        self._model, self._device = model.to(device).eval(), device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """The three estimates [3]."""
        import torch

        with torch.inference_mode():
            heads = self._model(torch.from_numpy(np.stack(wavs)).to(self._device))
            return list(torch.stack(heads, dim=1).cpu().numpy())

    def score(self, metric: "SquimObjective", pair: Pair) -> Mapping[str, float]:
        """One of the three estimates."""
        require_length(pair, SHORTEST)
        return {metric.name: float(self.features(pair.decoded)[HEADS.index(metric.head)])}


@dataclass(frozen=True)
class SquimObjective(ModelMetric):
    """What SQUIM's objective model takes for the metric `head` (STOI, PESQ or SI-SDR), from the decoded audio alone."""

    head: str = "stoi"

    @property
    def model(self) -> str:
        return "squim-objective"

    def open(self, device: str) -> Objective:
        return Objective(_load("squim_objective_base", self.files[0]), device)


def _load(constructor: str, file: File) -> Any:
    """The model of torchaudio that `constructor` makes, with the weights in `file`."""
    import torch

    path = file.open()
    model = getattr(extras.load_torchaudio().models, constructor)()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model


def _weights(name: str, license: str, size: int) -> tuple[File, ...]:
    return (File(name, license, size, url=HOST + name, kept=f"torch:torchaudio/models/{name}"),)


SQMOS = Sqmos(
    name="sqmos",
    label="SQMOS",
    direction="up",
    unit="MOS",
    low=1.0,
    high=5.0,
    version="1",
    decimals=3,
    files=_weights("squim_subjective_bvcc_daps.pth", "CC BY-NC 4.0 (non-commercial)", 360_000_000),
    packages=("torchaudio",),
)


def _objective(head: str, unit: str, low: float, high: float) -> SquimObjective:
    return SquimObjective(
        name=f"squim-{head}",
        label=f"{head.upper()} (SQUIM)",
        direction="up",
        unit=unit,
        low=low,
        high=high,
        version="1",
        decimals=3,
        files=_weights("squim_objective_dns2020.pth", "CC BY 4.0", 28_200_000),
        packages=("torchaudio",),
        head=head,
    )


SQUIM_STOI = _objective("stoi", "", 0.0, 1.0)
SQUIM_PESQ = _objective("pesq", "MOS-LQO", 1.0, 5.0)
SQUIM_SI_SDR = _objective("si-sdr", "dB", float("-inf"), float("inf"))

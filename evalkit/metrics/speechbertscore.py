"""SpeechBERTScore: how well each frame of the decoded audio is found again in the reference, in meaning and sound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.metrics.base import Pair
from evalkit.metrics.checks import require_length, require_playable
from evalkit.metrics.model import ModelMetric, Scorer

REPOSITORY = "microsoft/wavlm-large"
REVISION = "c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c"
SHORTEST = 1_600
"""Samples: a tenth of a second."""


class WavlmFrames(Scorer):
    """WavLM, open, down to one of its layers."""

    def __init__(self, folder: Path, layer: int, device: str) -> None:
        super().__init__()
        with extras.quiet_transformers() as transformers:
            self._model = transformers.WavLMModel.from_pretrained(folder, local_files_only=True).to(device).eval()
        self._layer, self._device = layer, device

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """Frames [N, D] of the layer; the audio is not normalised, as in the authors' code."""
        import torch

        with torch.inference_mode():
            found = self._model(torch.from_numpy(np.stack(wavs)).to(self._device), output_hidden_states=True)
            return list(found.hidden_states[self._layer].cpu().numpy())

    def reference(self, metric: "SpeechBertScore", pair: Pair) -> Wave:
        return pair.reference

    def score(self, metric: "SpeechBertScore", pair: Pair) -> Mapping[str, float]:
        """The mean over frames of the decoded audio of the best cosine with a frame of the reference.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        require_length(pair, SHORTEST)
        require_playable(pair)
        reference, decoded = (
            frames / np.linalg.norm(frames, axis=1, keepdims=True)
            for frames in (self.features(pair.reference), self.features(pair.decoded))
        )
        return {metric.name: float((decoded @ reference.T).max(axis=1).mean())}


@dataclass(frozen=True)
class SpeechBertScore(ModelMetric):
    """Precision of SpeechBERTScore: the mean over frames i of the decoded audio of max_j <d_i, r_j> / (|d_i| |r_j|),
    with r_j the frames of the reference, both of WavLM-large's layer 14.

    Range:
        -1 to 1, 1 for a perfect copy. Higher is better.

    Source:
        Saeki et al. 2024 (arXiv 2401.16812), Takaaki-Saeki/DiscreteSpeechMetrics@350e190; the authors' code gives
        precision, recall and F1, papers report precision. `microsoft/wavlm-large` by transformers.

    Misses:
        The order of frames: swapped words cost nothing. Omitted words lower only recall, which is not reported.

    Undefined:
        For silence, for less than 0.1 s, above two minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SPEECHBERTSCORE.open("cpu")  # doctest: +SKIP
        >>> model.score(SPEECHBERTSCORE, example_pair())  # doctest: +SKIP
        {'speechbertscore-wavlm-large-14': 0.86}
    """

    layer: int = 14

    @property
    def model(self) -> str:
        return f"wavlm-large down to layer {self.layer}"

    def open(self, device: str) -> WavlmFrames:
        paths = [file.open() for file in self.files]
        return WavlmFrames(paths[0].parent, self.layer, device)


SPEECHBERTSCORE = SpeechBertScore(
    name="speechbertscore-wavlm-large-14",
    label="SpeechBERTScore",
    direction="up",
    unit="",
    low=-1.0,
    high=1.0,
    version="1",
    decimals=3,
    files=(
        File(
            "pytorch_model.bin",
            "CC BY-SA 3.0",
            1_262_000_000,
            REPOSITORY,
            REVISION,
            sha256="fdee460e529396ddb2f8c8e8ce0ad74cfb747b726bc6f612e666c7c1e1963c9d",
        ),
        File("config.json", "CC BY-SA 3.0", 2_200, REPOSITORY, REVISION),
    ),
    packages=("transformers",),
)

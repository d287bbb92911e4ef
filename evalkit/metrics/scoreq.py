"""SCOREQ: quality by a model that was trained to order recordings, with a reference or without."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.metrics.base import Pair
from evalkit.metrics.checks import require_length, require_playable
from evalkit.metrics.model import ModelMetric, Scorer

HOST = "https://zenodo.org/records/15739280/files/"
SHORTEST = 1_600
"""Samples: a tenth of a second."""
HOP = 320
"""Samples of whose multiples the model takes its audio, filled up with zeros."""


class ScoreqModel(Scorer):
    """One of SCOREQ's ONNX models, open."""

    def __init__(self, path: Path, device: str) -> None:
        super().__init__()
        runtime = extras.load("onnxruntime", "scoreq")
        wanted = ["CUDAExecutionProvider"] * device.startswith("cuda") + ["CPUExecutionProvider"]
        providers = [name for name in wanted if name in runtime.get_available_providers()]
        self._session = runtime.InferenceSession(path, providers=providers)
        self._input = self._session.get_inputs()[0].name

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[Any]]:
        """What the model gives: an opinion [1], or an embedding [D]."""
        padded = (np.pad(wav, (0, -len(wav) % HOP)).astype(np.float32)[None] for wav in wavs)
        return [np.asarray(self._session.run(None, {self._input: one})[0]).reshape(-1) for one in padded]

    def reference(self, metric: "Scoreq", pair: Pair) -> Wave | None:
        return pair.reference if metric.uses_reference else None

    def score(self, metric: "Scoreq", pair: Pair) -> Mapping[str, float]:
        """The opinion, or the distance of the two embeddings.

        Raises:
            UndefinedScore: Too short, silent, or not finite.
        """
        require_length(pair, SHORTEST)
        require_playable(pair)
        found = self.features(pair.decoded)
        if not metric.uses_reference:
            return {metric.name: float(found[0])}
        return {metric.name: float(np.linalg.norm(found - self.features(pair.reference)))}


@dataclass(frozen=True)
class Scoreq(ModelMetric):
    """Predicted mean opinion score of the decoded audio, by SCOREQ's model for synthetic speech without a reference.

    Range:
        MOS, about 1 to 5. Higher is better.

    Source:
        Ragano, Skoglund, Hines 2024 (arXiv 2410.06675), `adapt_nr_synthetic.onnx` of Zenodo record 15739280, as the
        package `scoreq` 1.0.1 uses it (MIT): wav2vec 2.0 base, audio padded to a multiple of 320 samples.

    Misses:
        Words and voice: the original is not used.

    Undefined:
        For silence, for less than 0.1 s, above two minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SCOREQ_NR.open("cpu")  # doctest: +SKIP
        >>> model.score(SCOREQ_NR, example_pair())  # doctest: +SKIP
        {'scoreq-nr-synthetic': 3.0}
    """

    uses_reference: ClassVar[bool] = False

    @property
    def model(self) -> str:
        return self.name

    def open(self, device: str) -> ScoreqModel:
        return ScoreqModel(self.files[0].open(), device)


@dataclass(frozen=True)
class ScoreqDistance(Scoreq):
    """Euclidean distance of the embeddings of original and decoded audio, |a - b|, by SCOREQ's model for synthetic
    speech with a reference. The embeddings have length 1.

    Range:
        0 to 2, without unit; 0 for a perfect copy. **Lower is better**, unlike `scoreq-nr-synthetic`.

    Source:
        Ragano, Skoglund, Hines 2024 (arXiv 2410.06675), `fixed_nmr_synthetic.onnx` of Zenodo record 15739280, as the
        package `scoreq` 1.0.1 uses it (MIT): wav2vec 2.0 base, audio padded to a multiple of 320 samples.

    Misses:
        Words: the model accepts any clean recording as a reference.

    Undefined:
        For silence, for less than 0.1 s, above two minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SCOREQ_REF.open("cpu")  # doctest: +SKIP
        >>> model.score(SCOREQ_REF, example_pair())  # doctest: +SKIP
        {'scoreq-ref': 0.4}
    """

    uses_reference: ClassVar[bool] = True


def _about(name: str, label: str, file: str) -> dict[str, Any]:
    return {
        "name": name, "label": label, "version": "1", "decimals": 3, "packages": ("onnxruntime",), "extra": "scoreq",
        "files": (File(file, "MIT", 0, url=HOST + file, kept=f"home:.cache/scoreq/onnx-models/{file}"),),
    }  # fmt: skip


SCOREQ_NR = Scoreq(
    **_about("scoreq-nr-synthetic", "SCOREQ", "adapt_nr_synthetic.onnx"), direction="up", unit="MOS",
    low=float("-inf"), high=float("inf"),
)  # fmt: skip
SCOREQ_REF = ScoreqDistance(
    **_about("scoreq-ref", "SCOREQ distance", "fixed_nmr_synthetic.onnx"), direction="down", unit="", low=0.0,
    high=float("inf"),
)  # fmt: skip

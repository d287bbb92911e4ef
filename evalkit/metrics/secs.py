"""SECS: whether the decoded voice is still the speaker's, as a speaker recognition model sees it."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import MissingError, UndefinedScore
from evalkit.metrics.base import Pair
from evalkit.metrics.checks import require_length, require_sound
from evalkit.metrics.model import ModelMetric, Scorer

SHORTEST = 1_600
"""Samples: a tenth of a second, below which there is no voice to recognise."""
Embed = Callable[[NDArray[np.float32]], NDArray[np.float64]]


class Voices(Scorer):
    """A speaker model, open: `embed` gives the embeddings [B, D] of audio [B, T] at 16 kHz."""

    def __init__(self, embed: Embed) -> None:
        super().__init__()
        self._embed = embed

    def infer(self, wavs: Sequence[Wave], language: str) -> Sequence[NDArray[np.float64]]:
        """Embeddings [D]."""
        return list(self._embed(np.stack(wavs)))

    def reference(self, metric: "SpeakerSimilarity", pair: Pair) -> Wave:
        return pair.reference

    def score(self, metric: "SpeakerSimilarity", pair: Pair) -> Mapping[str, float]:
        """The cosine of the two embeddings."""
        require_length(pair, SHORTEST)
        require_sound(pair)
        a, b = self.features(pair.reference), self.features(pair.decoded)
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        if not np.isfinite(lengths) or lengths == 0:
            raise UndefinedScore("the speaker model gives no embedding")
        return {metric.name: float(np.clip(a @ b / lengths, -1, 1))}


@dataclass(frozen=True)
class SpeakerSimilarity(ModelMetric):
    """Speaker embedding cosine similarity, <a, b> / (|a| |b|), of the embeddings a of the original and b of the decoded
    audio: 1 for the same, around 0 for strangers, from -1 to 1.

    What a value means depends on the model: SECS of two models do not compare, and the column says which it is.

    Undefined for silence and for less than 0.1 s.
    """

    @property
    def model(self) -> str:
        return self.name

    @abstractmethod
    def open(self, device: str) -> Voices: ...


@dataclass(frozen=True)
class Ecapa2(SpeakerSimilarity):
    """SECS by ECAPA2 (Thienpondt and Demuynck 2023, arXiv 2401.08342), as in the NanoCodec paper.

    The public model is TorchScript, which is code: it is opened only if its sha256 is the one that was pinned.
    """

    def open(self, device: str) -> Voices:
        """The model, run without TorchScript's optimizer: that one recompiles for every new length."""
        import torch

        path = self.files[0].open()
        try:
            model = torch.jit.load(str(path), map_location="cpu").to(device).eval()
        except RuntimeError as error:
            raise MissingError(f"{path} cannot be opened as TorchScript: {str(error).splitlines()[0]}") from error

        def embed(wavs: NDArray[np.float32]) -> NDArray[np.float64]:
            with torch.inference_mode(), torch.jit.optimized_execution(False):
                return model(torch.from_numpy(wavs).to(device)).reshape(len(wavs), -1).double().cpu().numpy()

        return Voices(embed)


@dataclass(frozen=True)
class EcapaTdnn(SpeakerSimilarity):
    """SECS by ECAPA-TDNN (Desplanques et al. 2020, arXiv 2005.07143), the model of speechbrain trained on VoxCeleb.

    Its folder is read as it is, but nothing is taken from its `hyperparams.yaml`: such a file can run code.
    """

    def open(self, device: str) -> Voices:
        """The model of speechbrain with its own filterbank (80 bands) and mean normalisation by utterance."""
        import torch

        extras.load_torchaudio()
        try:
            from speechbrain.lobes.features import Fbank
            from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
            from speechbrain.processing.features import InputNormalization
        except (ImportError, OSError) as error:
            raise MissingError(f"speechbrain cannot be used ({error}): {extras.install('models')}") from error
        features = Fbank(n_mels=80)
        centre = InputNormalization(norm_type="sentence", std_norm=False)
        model = ECAPA_TDNN(
            80, channels=[1024, 1024, 1024, 1024, 3072], kernel_sizes=[5, 3, 3, 3, 1], dilations=[1, 2, 3, 4, 1],
            attention_channels=128, lin_neurons=192,
        )  # fmt: skip
        model.load_state_dict(torch.load(self.files[0].open(), map_location="cpu", weights_only=True))
        model = model.to(device).eval()
        features = features.to(device).eval()

        def embed(wavs: NDArray[np.float32]) -> NDArray[np.float64]:
            whole = torch.ones(len(wavs), device=device)
            with torch.inference_mode():
                bands = centre(features(torch.from_numpy(wavs).to(device)), whole)
                return model(bands, whole)[:, 0].double().cpu().numpy()

        return Voices(embed)


def _about(name: str, label: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "direction": "up",
        "unit": "",
        "low": -1.0,
        "high": 1.0,
        "version": "1",
        "decimals": 3,
    }


SECS_ECAPA2 = Ecapa2(
    **_about("secs-ecapa2", "SECS"),
    files=(File("ecapa2.pt", "CC BY-NC 4.0 (non-commercial)", 0, "Jenthe/ECAPA2", code=True),),
    packages=(),
)
SECS_ECAPA = EcapaTdnn(
    **_about("secs-ecapa", "SECS (ECAPA-TDNN)"),
    files=(
        File(
            "embedding_model.ckpt",
            "Apache-2.0",
            83_316_686,
            "speechbrain/spkrec-ecapa-voxceleb",
            "0f99f2d0ebe89ac095bcc5903c4dd8f72b367286",
            sha256="0575cb64845e6b9a10db9bcb74d5ac32b326b8dc90352671d345e2ee3d0126a2",
        ),
    ),
    packages=("speechbrain", "torchaudio"),
)

"""Speaker similarity: whether the decoded voice is still the speaker's, as a speaker verification model has it.

`secs-ecapa2` is the metric of the NanoCodec paper, `sim-wavlm-large-sv` that of most other papers on codecs. What a
value means depends on the model: one codec has 0.84 by WavLM-large and 0.985 by WavLM-base. The column says which.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.environment import extras
from evalkit.environment.downloads import File
from evalkit.errors import MissingError, UndefinedScore
from evalkit.metrics.base import SCORE_RATE, Pair
from evalkit.metrics.checks import require_length, require_playable
from evalkit.metrics.model import ModelMetric, Scorer

Embed = Callable[[NDArray[np.float32]], NDArray[np.float64]]


class SpeakerModel(Scorer):
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
        """The cosine of the two embeddings.

        Raises:
            UndefinedScore: Too short, silent, not finite, or without an embedding.
        """
        require_length(pair, metric.shortest, "there is no voice to recognize")
        require_playable(pair)
        a, b = self.features(pair.reference), self.features(pair.decoded)
        lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
        if not np.isfinite(lengths) or lengths == 0:
            raise UndefinedScore("the speaker model gives no embedding")
        return {metric.name: float(np.clip(a @ b / lengths, -1, 1))}


@dataclass(frozen=True)
class SpeakerSimilarity(ModelMetric):
    """Cosine of speaker embeddings, <a, b> / (|a| |b|), with a of the original and b of the decoded audio."""

    shortest: ClassVar[int] = 1_600
    """Samples: a tenth of a second."""

    @property
    def model(self) -> str:
        return self.name

    @abstractmethod
    def open(self, device: str) -> SpeakerModel: ...


@dataclass(frozen=True)
class Ecapa2(SpeakerSimilarity):
    """Cosine of the speaker embeddings of original and decoded audio, <a, b> / (|a| |b|), by ECAPA2.

    The public model is TorchScript, which is code. It is opened only if its sha256 is the pinned one, and only in the
    process that scores with models. TorchScript is deprecated in torch: see docs/decisions/0047-torchscript.md.

    Range:
        -1 to 1: 1 for the same, around 0 for different speakers. Higher is better.

    Source:
        Thienpondt and Demuynck 2023 (arXiv 2401.08342), `Jenthe/ECAPA2` (CC BY-NC 4.0), 192 dimensions; the metric of
        the NanoCodec paper (arXiv 2508.05835).

    Misses:
        Words and quality. SECS values of two models are not comparable.

    Undefined:
        For silence, for less than 0.1 s, above five minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SECS_ECAPA2.open("cpu")  # doctest: +SKIP
        >>> model.score(SECS_ECAPA2, example_pair())  # doctest: +SKIP
        {'secs-ecapa2': 0.93}
    """

    max_seconds: ClassVar[float] = 300.0

    def open(self, device: str) -> SpeakerModel:
        """The model, run without TorchScript's optimizer: that one recompiles for every new length."""
        import torch

        path = self.files[0].open()
        try:
            with warnings.catch_warnings():  # the weights are published in no other form; see the class
                warnings.filterwarnings("ignore", r".*torch\.jit\.load.*", DeprecationWarning)
                warnings.filterwarnings("ignore", r".*torch\.jit\.load.*", FutureWarning)
                model = torch.jit.load(str(path), map_location="cpu").to(device).eval()
        except RuntimeError as error:
            raise MissingError(f"{path} cannot be opened as TorchScript: {str(error).splitlines()[0]}") from error

        def embed(wavs: NDArray[np.float32]) -> NDArray[np.float64]:
            with torch.inference_mode(), torch.jit.optimized_execution(False):
                return model(torch.from_numpy(wavs).to(device)).reshape(len(wavs), -1).double().cpu().numpy()

        return SpeakerModel(embed)


@dataclass(frozen=True)
class EcapaTdnn(SpeakerSimilarity):
    """Cosine of the speaker embeddings of original and decoded audio, <a, b> / (|a| |b|), by ECAPA-TDNN.

    The weights are speechbrain's; the network is our own (networks/ecapa_tdnn.py) and needs only torch.

    Range:
        -1 to 1: 1 for the same, around 0 for different speakers. Higher is better.

    Source:
        Desplanques et al. 2020 (arXiv 2005.07143), `speechbrain/spkrec-ecapa-voxceleb` (Apache-2.0), trained on
        VoxCeleb, 192 dimensions.

    Misses:
        Words and quality. SECS values of two models are not comparable.

    Undefined:
        For silence, for less than 0.1 s, above ten minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SECS_ECAPA.open("cpu")  # doctest: +SKIP
        >>> model.score(SECS_ECAPA, example_pair())  # doctest: +SKIP
        {'secs-ecapa': 0.91}
    """

    max_seconds: ClassVar[float] = 600.0

    def open(self, device: str) -> SpeakerModel:
        from evalkit.metrics.networks import ecapa_tdnn, states

        return network_model(ecapa_tdnn.EcapaTdnn.of(states.read_state(self.files[0].open())), device)


@dataclass(frozen=True)
class WavlmLargeSimilarity(SpeakerSimilarity):
    """Cosine of the speaker embeddings of original and decoded audio, <a, b> / (|a| |b|), by UniSpeech's WavLM-large.

    This is what papers on codecs call SIM. UniSpeech's weights are loaded into transformers' WavLM and an ECAPA-TDNN
    of our own (networks/wavlm_sv.py): neither s3prl nor torchaudio is needed.

    Range:
        -1 to 1: 1 for the same; 0.5 to 0.85 for codecs around 1 kbit/s. Higher is better.

    Source:
        microsoft/UniSpeech, downstreams/speaker_verification, `wavlm_large_finetune.pth` (CC BY-SA 3.0), 256
        dimensions; each recording is normalised to mean 0 and variance 1, as there.

    Misses:
        Words and quality. SIM values of two models are not comparable.

    Undefined:
        For silence, for less than 0.1 s, above two minutes, and beyond twice full scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SIM_WAVLM_LARGE.open("cpu")  # doctest: +SKIP
        >>> model.score(SIM_WAVLM_LARGE, example_pair())  # doctest: +SKIP
        {'sim-wavlm-large-sv': 0.87}
    """

    def open(self, device: str) -> SpeakerModel:
        from evalkit.metrics.networks import states, wavlm_sv

        return network_model(wavlm_sv.WavlmSpeaker.of(states.read_state(self.files[0].open(), "model")), device)


@dataclass(frozen=True)
class WavlmBaseSimilarity(SpeakerSimilarity):
    """Cosine of the speaker embeddings of original and decoded audio, <a, b> / (|a| |b|), by WavLM-base-plus with an
    x-vector head. Audio goes through the checkpoint's own feature extractor.

    Range:
        -1 to 1: 1 for the same; most codecs are above 0.9. Higher is better.

    Source:
        `microsoft/wavlm-base-plus-sv` (arXiv 2110.13900; CC BY-SA 3.0), 512 dimensions, by transformers.

    Misses:
        Words and quality. SIM values of two models are not comparable: values by WavLM-large are far lower.

    Undefined:
        For silence, for less than 0.4 s (the head needs 15 frames at once), above two minutes, and beyond twice full
        scale.

    Example:
        >>> from evalkit.testing import example_pair
        >>> model = SIM_WAVLM_BASE.open("cpu")  # doctest: +SKIP
        >>> model.score(SIM_WAVLM_BASE, example_pair())  # doctest: +SKIP
        {'sim-wavlm-base-plus-sv': 0.96}
    """

    shortest: ClassVar[int] = 6_400

    def open(self, device: str) -> SpeakerModel:
        import torch

        paths = [file.open() for file in self.files]
        with extras.quiet_transformers() as transformers:
            extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(paths[0].parent, local_files_only=True)
            model = (
                transformers.WavLMForXVector.from_pretrained(paths[0].parent, local_files_only=True).to(device).eval()
            )

        def embed(wavs: NDArray[np.float32]) -> NDArray[np.float64]:
            given = extractor(list(wavs), sampling_rate=SCORE_RATE, return_tensors="pt").input_values.to(device)
            with torch.inference_mode():
                return model(given).embeddings.double().cpu().numpy()

        return SpeakerModel(embed)


def network_model(network: Any, device: str) -> SpeakerModel:
    """The torch module `network`, audio [B, T] to embeddings [B, D], on `device`."""
    import torch

    network = network.to(device)

    def embed(wavs: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.inference_mode():
            return network(torch.from_numpy(wavs).to(device)).double().cpu().numpy()

    return SpeakerModel(embed)


def similarity(name: str, label: str) -> dict[str, Any]:
    """What all speaker similarities say of themselves."""
    return {
        "name": name, "label": label, "direction": "up", "unit": "", "low": -1.0, "high": 1.0, "version": "1",
        "decimals": 3,
    }  # fmt: skip


SECS_ECAPA2 = Ecapa2(
    **similarity("secs-ecapa2", "SECS"),
    files=(
        File(
            "ecapa2.pt",
            "CC BY-NC 4.0 (non-commercial)",
            108_895_613,
            "Jenthe/ECAPA2",
            "b06190b427c0d20a64c777e8b77597a4fc1889d6",
            sha256="9b12f6bfdb641297eb7a8c04993d0a62944586e4a1db52cc2ba86aec08980570",
            code=True,
        ),
    ),
    packages=(),
)
SECS_ECAPA = EcapaTdnn(
    **similarity("secs-ecapa", "SECS (ECAPA-TDNN)"),
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
    packages=(),
)
SIM_WAVLM_LARGE = WavlmLargeSimilarity(
    **similarity("sim-wavlm-large-sv", "SIM (WavLM-large)"),
    files=(
        File(
            "speaker_similarity/wavlm_large_finetune.pth",
            "CC BY-SA 3.0",
            1_300_000_000,
            "k2-fsa/TTS_eval_models",
            "e876de7154845cd668b599bd4866f1d354c723df",
        ),
    ),
    packages=("transformers",),
)
_BASE = ("CC BY-SA 3.0", "microsoft/wavlm-base-plus-sv", "feb593a6c23c1cc3d9510425c29b0a14d2b07b1e")
SIM_WAVLM_BASE = WavlmBaseSimilarity(
    **similarity("sim-wavlm-base-plus-sv", "SIM (WavLM-base+)"),
    files=tuple(
        File(name, _BASE[0], size, *_BASE[1:])
        for name, size in (
            ("pytorch_model.bin", 405_000_000), ("config.json", 3_000), ("preprocessor_config.json", 300),
        )
    ),
    packages=("transformers",),
)  # fmt: skip

"""X-Codec2 (Ye et al., 2025, arXiv 2502.04128), and NeuCodec (2025, arXiv 2509.09550) which extends it.

By transformers' Xcodec2Model and NeuCodecModel: one codebook of 65,536, 50 tokens/s. They code what a convolutional
encoder and a speech model (w2v-BERT) hear. The feature extractors that transformers has for the two need torchaudio;
its SeamlessM4TFeatureExtractor does not, and computes the same: they agree within 2e-4, where features spread by 1.

X-Codec2 decodes to 16 kHz, NeuCodec to 24. NeuCodec's input is resampled here to the 16 kHz that it hears, and, as
upstream, it codes whole frames only: the last 20 ms at most come back as silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.codecs import Card, Codec, Codes, Wave
from evalkit.errors import MissingError

from . import pretrained
from .weights import HubFamily, Release, digests, locate

INPUT_RATE = 16_000
HOP = 320
FRAME_RATE = INPUT_RATE / HOP
LEVELS = (4,) * 8
CODEBOOKS = (4**8,)


@dataclass(frozen=True)
class Kind:
    """What differs between the two."""

    model: str
    """Its class in transformers."""
    sample_rate: int
    """Of what is decoded."""
    edge: int
    """Zeros on both sides of what the features are computed from."""
    parameters: int
    release: Release


class XCodec2Codec:
    """An Xcodec2Model or NeuCodecModel, one utterance at a time."""

    frame_rate: float | None = FRAME_RATE
    codebook_sizes: tuple[int, ...] = CODEBOOKS
    streaming = False

    def __init__(self, name: str, model: Any, extractor: Any, kind: Kind, details: Mapping[str, object]) -> None:
        self.name = name
        self.sample_rate: int | None = kind.sample_rate
        self.details = details
        self._model = model
        self._extractor = extractor
        self._kind = kind

    def encode(self, wav: Wave) -> Codes:
        """Indices [1, N] of `wav` [T]: floor(T / 320) + 1 of X-Codec2, floor(T / 480) but at least 1 of NeuCodec."""
        import torch

        heard = wav
        if self._kind.sample_rate != INPUT_RATE:
            import soxr

            heard = soxr.resample(wav, self._kind.sample_rate, INPUT_RATE)
        # As upstream, which fills up to whole frames with one zero at least. Features need 400 samples.
        padded = np.zeros(max(len(heard) // HOP + 1, 1 if self._kind.edge else 2) * HOP, np.float32)
        padded[: len(heard)] = heard
        features = self._extractor(
            np.pad(padded, self._kind.edge), sampling_rate=INPUT_RATE, return_tensors="pt", return_attention_mask=False
        )
        with torch.inference_mode():
            audio = torch.from_numpy(padded).to(self._model.device)[None, None]
            indices = self._model.encode(audio, features["input_features"].to(self._model.device)).audio_codes
        return Codes(len(wav), indices[0].cpu().numpy().astype(np.int64), CODEBOOKS)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length], with zeros where fewer frames were coded."""
        import torch

        with torch.inference_mode():
            indices = torch.from_numpy(codes.indices).to(self._model.device)
            audio = self._model.decode(indices[None]).audio_values[0, 0, : codes.length].float().cpu().numpy()
        return np.pad(audio, (0, codes.length - len(audio)))


class XCodec2Family(HubFamily):
    """One released model."""

    default_rate = "0.8k"
    rates: Mapping[str, float] = {default_rate: 16 * FRAME_RATE}
    package = "transformers"

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.license = f"Apache-2.0 (transformers); {kind.release.license} (weights)"

    def release(self, rate: str) -> Release:
        """The weights; no revision is pinned yet."""
        return self.kind.release

    def card(self, rate: str) -> Card:
        """What is known of the model."""
        release = self.kind.release
        return Card(
            self.kind.sample_rate, FRAME_RATE, CODEBOOKS, self.kind.parameters, "Apache-2.0", release.license,
            str(release), causal=False,
        )  # fmt: skip

    def build_from(self, weights: Path, rate: str, device: str = "cpu") -> Codec:
        """The codec with the weights that the model's `save_pretrained` wrote to the folder `weights`.

        Raises MissingError where they are not there, or are another model's.
        """
        spec, kind = self.spec(rate), self.kind
        files = locate(weights, pretrained.FILES, spec)
        model = pretrained.load(kind.model, self.name, weights, device, spec)
        config = model.config
        hop, made = config.hop_length, getattr(config, "output_sampling_rate", INPUT_RATE)
        if (hop * INPUT_RATE, made, tuple(config.quantization_levels)) != (HOP * made, kind.sample_rate, LEVELS):
            raise MissingError(f"{spec}: {weights} holds another model than the released one")
        import transformers

        details = {"weights_sha256": digests(files), "transformers": version("transformers"), "torch": version("torch")}
        return XCodec2Codec(spec, model, transformers.SeamlessM4TFeatureExtractor(), kind, details)


XCODEC2 = XCodec2Family(
    "xcodec2",
    Kind("Xcodec2Model", 16_000, HOP // 2, 629_281_706,
         Release("HKUSTAudio/xcodec2-hf", pretrained.FILES, "CC-BY-NC-4.0")),
)  # fmt: skip
NEUCODEC = XCodec2Family(
    "neucodec",
    Kind("NeuCodecModel", 24_000, 0, 629_937_706, Release("neuphonic/neucodec", pretrained.FILES, "Apache-2.0")),
)

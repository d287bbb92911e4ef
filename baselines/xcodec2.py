"""X-Codec2 (Ye et al., 2025, arXiv 2502.04128), and NeuCodec (2025, arXiv 2509.09550) which extends it.

transformers runs both (Xcodec2Model, NeuCodecModel), with one codebook of 65,536 and 50 tokens/s. They code the joint
output of a convolutional encoder and a speech model (w2v-BERT). transformers' feature extractors for the two need
torchaudio; its SeamlessM4TFeatureExtractor does not, and agrees within 2e-4 (features have a standard deviation of 1).

X-Codec2 decodes to 16 kHz, NeuCodec to 24 kHz. As in upstream, NeuCodec codes only whole frames, so up to 20 ms at the
end come back as silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, PADDING, Codec, CodecInfo
from evalkit.environment import extras
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
HOP = 320
FRAME_RATE = SAMPLE_RATE / HOP
LEVELS = (4,) * 8
CODEBOOKS = (4**8,)
TRANSFORMERS = "5.17"
"""The first release with NeuCodecModel, and with an X-Codec2 whose attention sees both sides (its codes differ)."""


@dataclass(frozen=True)
class Kind:
    """What differs between the two."""

    model: str
    """Its class in transformers."""
    output_rate: int
    """Hz, of what is decoded."""
    edge: int
    """Zeros on both sides of what the features are computed from."""
    parameters: int
    release: Release


class XCodec2Codec(NetworkCodec):
    """An Xcodec2Model, N = floor(T / 320) + 1, or a NeuCodecModel, N = floor(T / 320) but at least 1."""

    def __init__(self, edge: int, extractor: Any, *common: Any) -> None:
        super().__init__(*common)
        self._edge = edge
        self._extractor = extractor

    def tokens(self, audio: "Tensor") -> "Tensor":
        from torch.nn.functional import pad

        # As upstream, which fills up to whole frames with one zero at least. Features need 400 samples.
        frames = max(len(audio) // HOP + 1, 1 if self._edge else 2)
        audio = pad(audio, (0, frames * HOP - len(audio)))
        padded = pad(audio, (self._edge, self._edge)).cpu().numpy()
        features = self._extractor(padded, sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_features"]
        return self._model.encode(audio[None, None], features.to(self._device)).audio_codes[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None]).audio_values[0, 0]


class XCodec2Family(ReleasedFamily):
    """One released model."""

    default_rate = "0.8k"
    rates: Mapping[str, float] = {default_rate: 16 * FRAME_RATE}
    package = "transformers"

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.license = f"Apache-2.0 (transformers); {kind.release.license} (weights)"

    def release(self, rate: str) -> Release:
        """The weights; of NeuCodec's, no revision is pinned yet."""
        return self.kind.release

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model."""
        release, output_rate = self.kind.release, self.kind.output_rate
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, CODEBOOKS, self.kind.parameters, "Apache-2.0", release.license, str(release),
            causal=False, depends_on=(PADDING, LEVEL), output_rate=output_rate if output_rate != SAMPLE_RATE else None,
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with the weights that the model's `save_pretrained` wrote to the folder `weights`.

        Raises MissingError where they are not there, or are another model's.
        """
        spec, kind = self.spec(rate), self.kind
        extras.check_version("transformers", TRANSFORMERS, "models")
        files = locate(weights, pretrained.FILES, spec)
        model = pretrained.load(kind.model, self.name, weights, device, spec)
        config = model.config
        hop, made = config.hop_length, getattr(config, "output_sampling_rate", SAMPLE_RATE)
        if (hop * SAMPLE_RATE, made, tuple(config.quantization_levels)) != (HOP * made, kind.output_rate, LEVELS):
            raise MissingError(f"{spec}: {weights} is not the released model")
        import transformers

        extractor, about = transformers.SeamlessM4TFeatureExtractor(), details(files, "transformers")
        return XCodec2Codec(kind.edge, extractor, spec, model, self.info(rate), about)

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model as released, with random weights."""
        model = draw(lambda: pretrained.fresh(self.kind.model), device)
        import transformers

        extractor = transformers.SeamlessM4TFeatureExtractor()
        return XCodec2Codec(self.kind.edge, extractor, self.spec(rate), model, self.info(rate), RANDOM)


XCODEC2 = XCodec2Family(
    "xcodec2",
    Kind("Xcodec2Model", 16_000, HOP // 2, 629_281_706,
         Release("HKUSTAudio/xcodec2-hf", pretrained.FILES, "CC-BY-NC-4.0", "64bd034d12d441299cdd535b15c33efd6ccdf252",
                 {"model.safetensors": "611a63e4dff70c19bd4718d701bb7bc522acf6293a109ab62f5db2f7ff395114"},
                 2_517_231_448)),
)  # fmt: skip
NEUCODEC = XCodec2Family(
    "neucodec",
    Kind(
        "NeuCodecModel", 24_000, 0, 629_937_706,
        Release("neuphonic/neucodec", pretrained.FILES, "Apache-2.0", size=2_520_000_000),
    ),
)  # fmt: skip
"""The newest revision holds what transformers reads; the older ones whose hashes are known hold another layout."""

"""X-Codec (Ye et al., 2024, arXiv 2408.17175) by transformers' XcodecModel: 16 kHz, 50 frames/s, 8 codebooks of 1024.

It has a convolutional encoder like DAC's beside HuBERT or WavLM, whose features are normalised over the whole
utterance, so appended silence changes tokens throughout (docs/reference/codec-checks.md). Utterances are therefore
processed one at a time, never in padded batches. Five models were released, and papers seldom say which one they used;
the rate's label names it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.codecs import LEVEL, PADDING, Codec, CodecInfo
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw, spread
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
HOP = 320
FRAME_RATE = SAMPLE_RATE / HOP
CODEBOOK = 1024
DIMENSION = 1024
"""Of a codebook's entries."""
BITS = 10 * FRAME_RATE
"""Bit/s of one codebook."""
COUNTS = (1, 2, 3, 4, 8)
"""Of codebooks, for which the models were trained."""
LEAST = 80
"""Samples without which the speech model has not one frame."""
MODELS = {
    "hubert-ls": "hubert-librispeech", "wavlm-mls": "wavlm-mls", "wavlm-more": "wavlm-more-data",
    "general": "hubert-general", "general-balanced": "hubert-general-balanced",
}  # fmt: skip
"""By label, the released name. The general ones were trained on more than speech."""
RELEASES = {
    label: Release(f"hf-audio/xcodec-{name}", pretrained.FILES, "CC-BY-4.0", size=710_000_000)
    for label, name in MODELS.items()
}
"""The license stands on one of the cards; the authors' repository states none for the weights."""
PARAMETERS = {"hubert": 143_394_817, "wavlm": 143_405_041}
"""By speech model. Without what serves training only, and the codebooks, which transformers counts as buffers."""
VARIANTS = {f"{count * BITS / 1000:g}k-{model}": (model, count) for model in MODELS for count in COUNTS}
LISTED = ("1k-hubert-ls", "2k-hubert-ls", "4k-hubert-ls", "2k-wavlm-more", "2k-general")
"""Rates that `evalkit list codecs` shows."""


class XCodecCodec(NetworkCodec):
    """The first codebooks of an XcodecModel, N = floor((T + 240) / 320) but at least 1: up to 79 samples at the end
    come back as silence."""

    residual = True
    least, bits = LEAST, BITS

    def tokens(self, audio: "Tensor") -> "Tensor":
        from torch.nn.functional import pad

        audio, kbps = pad(audio, (0, max(0, self.least - len(audio)))), len(self.codebook_sizes) * self.bits / 1000
        return self._model.encode(audio[None, None], bandwidth=kbps).audio_codes[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None]).audio_values[0, 0]


class XCodecFamily(ReleasedFamily):
    """The released models at their bandwidths."""

    name = "xcodec"
    rates: Mapping[str, float] = {label: count * BITS for label, (_, count) in VARIANTS.items()}
    default_rate = "2k-hubert-ls"
    license = "Apache-2.0 (transformers); CC-BY-4.0 (weights, according to one of five model cards)"
    package = "transformers"

    def release(self, rate: str) -> Release:
        """The weights of the model that `rate` names; no revision is pinned yet."""
        return RELEASES[VARIANTS[rate][0]]

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model that `rate` names, and of its codebooks."""
        model, count = VARIANTS[rate]
        parameters = PARAMETERS[_speech_model(model)] + count * CODEBOOK * DIMENSION
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, (CODEBOOK,) * count, parameters, "Apache-2.0", RELEASES[model].license,
            str(RELEASES[model]), causal=False, depends_on=(PADDING, LEVEL),
            listed=rate in LISTED,
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The model with the weights that `XcodecModel.save_pretrained` wrote to the folder `weights`.

        Raises:
            MissingError: they are not there, or are another model's.
        """
        spec, (label, _) = self.spec(rate), VARIANTS[rate]
        files = locate(weights, pretrained.FILES, spec)
        model = pretrained.load("XcodecModel", "xcodec", weights, device, spec)
        config = model.config
        found = (config.sample_rate, config.hop_length, config.codebook_size, config.num_quantizers)
        speech = config.semantic_model_config.model_type
        if (*found, speech) != (SAMPLE_RATE, HOP, CODEBOOK, COUNTS[-1], _speech_model(label)):
            raise MissingError(
                f"{spec} takes {SAMPLE_RATE} Hz, hop {HOP}, {COUNTS[-1]} codebooks of {CODEBOOK} and "
                f"{_speech_model(label)}; {weights} has {found[0]} Hz, hop {found[1]}, {found[3]} codebooks of "
                f"{found[2]} and {speech}"
            )
        return XCodecCodec(spec, model, self.info(rate), details(files, "transformers"))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model that `rate` names as released, with random weights."""
        speech = {"model_type": _speech_model(VARIANTS[rate][0])}
        model = draw(lambda: spread(pretrained.fresh("XcodecModel", semantic_model_config=speech)), device)
        return XCodecCodec(self.spec(rate), model, self.info(rate), RANDOM)


def _speech_model(label: str) -> str:
    """What transformers calls the speech model of a released one."""
    return "wavlm" if label.startswith("wavlm") else "hubert"


FAMILY = XCodecFamily()

"""The tokenizer of Higgs Audio v2 (Boson AI, 2025): 24 kHz, 25 frames/s, 2, 4, 6 or 8 codebooks of 1024.

It is transformers' X-codec with the changes of Higgs (higgs_model.py): HuBERT processes the audio at 16 kHz, and the
codebooks have 64 dimensions. transformers' own class is not used, because its resampler needs torchaudio. As in
X-codec, the tokens depend on the whole utterance, including the silence around it, so utterances are processed one at a
time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.codecs import LEVEL, PADDING, Codec, CodecInfo
from evalkit.environment import extras
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw, spread
from .weights import Release, ReleasedFamily, details, locate
from .xcodec import XCodecCodec

SAMPLE_RATE = 24_000
HOP = 960
FRAME_RATE = SAMPLE_RATE / HOP
CODEBOOK = 1024
DIMENSION = 64
"""Of a codebook's entries."""
BITS = 10 * FRAME_RATE
"""Bit/s of one codebook."""
COUNTS = (2, 4, 6, 8)
"""Of codebooks, for which the model was trained."""
LEAST = 120
"""Samples without which HuBERT has not one frame."""
RELEASE = Release(
    "bosonai/higgs-audio-v2-tokenizer", pretrained.FILES, "terms of its own (LICENSE in the repository)",
    size=806_000_000,
)  # fmt: skip
STRIDES = (8, 5, 4, 2, 3)
PUBLISHED: dict[str, Any] = {
    "target_bandwidths": [n * BITS / 1000 for n in COUNTS], "semantic_model_config": {"model_type": "hubert"},
    "acoustic_model_config": {"downsampling_ratios": STRIDES, "upsampling_ratios": STRIDES},
}  # fmt: skip
"""Where `config.json` differs from what transformers takes by itself."""
PARAMETERS = 183_039_969
"""Without what serves training only, and the codebooks, which transformers counts as buffers."""


class HiggsCodec(XCodecCodec):
    """The first codebooks of a `Higgs`, N = floor((T + 841) / 960) but at least 1: up to 118 samples at the end come
    back as silence."""

    least, bits = LEAST, BITS


class HiggsFamily(ReleasedFamily):
    """The released model at its bandwidths."""

    name = "higgs"
    rates: Mapping[str, float] = {f"{n * BITS / 1000:g}k": n * BITS for n in COUNTS}
    default_rate = "2k"
    license = "Apache-2.0 (transformers and this implementation); own terms (weights)"
    published = RELEASE
    package = "transformers"

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model at `rate`."""
        count = round(self.rates[rate] / BITS)
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, (CODEBOOK,) * count, PARAMETERS + count * CODEBOOK * DIMENSION,
            "Apache-2.0", "own terms", str(RELEASE), causal=False,
            depends_on=(PADDING, LEVEL),
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The model with the weights that transformers' `save_pretrained` wrote to the folder `weights`.

        Raises:
            MissingError: they are not there, or are another model's.
        """
        spec = self.spec(rate)
        files = locate(weights, pretrained.FILES, spec)
        extras.load_transformers()
        from .higgs_model import Higgs

        model = pretrained.load(Higgs, "higgs_audio_v2_tokenizer", weights, device, spec)
        config = model.config
        found = (
            config.sample_rate,
            config.hop_length,
            config.codebook_size,
            config.codebook_dim,
            config.num_quantizers,
        )
        if found != (SAMPLE_RATE, HOP, CODEBOOK, DIMENSION, COUNTS[-1]):
            raise MissingError(
                f"{spec} takes {SAMPLE_RATE} Hz, hop {HOP} and {COUNTS[-1]} codebooks of {CODEBOOK} x {DIMENSION}; "
                f"{weights} has {found[0]} Hz, hop {found[1]} and {found[4]} codebooks of {found[2]} x {found[3]}"
            )
        return HiggsCodec(spec, model, self.info(rate), details(files, "transformers"))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model as released, with random weights."""
        transformers = extras.load_transformers()
        from .higgs_model import Higgs

        config = transformers.HiggsAudioV2TokenizerConfig(**PUBLISHED)
        return HiggsCodec(self.spec(rate), draw(lambda: spread(Higgs(config)), device), self.info(rate), RANDOM)


FAMILY = HiggsFamily()

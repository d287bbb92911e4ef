"""EnCodec (Défossez et al., 2022, arXiv 2210.13438) by transformers' EncodecModel: 24 kHz, 75 frames/s, causal.

It uses 2, 4, 8, 16 or 32 codebooks of 1024, at 1.5 to 24 kbit/s, without the paper's entropy coder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo, Network
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 24_000
HOP = 320
FRAME_RATE = SAMPLE_RATE / HOP
CODEBOOK = 1024
BITS = 10 * FRAME_RATE
"""Bit/s of one codebook."""
RELEASE = Release(
    "facebook/encodec_24khz",
    pretrained.FILES,
    "none stated",
    "c1dbe2ae3f1de713481a3b3e7c47f357092ee040",
    {"model.safetensors": "37a7cb100f71a29e6c1d815aca8666a1d7ea8885ebe44c306c751a5103559d57"},
    93_000_000,
)
PARAMETERS = 14_851_810
"""Without the codebooks, which transformers counts as buffers."""
DIMENSION = 128
"""Of a codebook's entries."""


class EncodecCodec(NetworkCodec):
    """The first codebooks of an EncodecModel: N = ceil(T / 320)."""

    residual = True
    lookahead = (0.0, 0.0)

    def tokens(self, audio: "Tensor") -> "Tensor":
        kbps = len(self.codebook_sizes) * BITS / 1000
        return self._model.encode(audio[None, None], bandwidth=kbps).audio_codes[0, 0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None, None], [None]).audio_values[0, 0]  # [None]: no level was sent

    def network(self) -> Network:
        """The EncodecModel, for batches of equal lengths."""
        model, kbps = self._model, len(self.codebook_sizes) * BITS / 1000
        return Network(
            model,
            lambda audio: model.encode(audio[:, None], bandwidth=kbps).audio_codes[0],
            lambda tokens: model.decode(tokens[None], [None]).audio_values[:, 0],
            lambda audio: model.encoder(audio[:, None]),
            batched=True,
        )


class EncodecFamily(ReleasedFamily):
    """The 24 kHz model at its bandwidths."""

    name = "encodec"
    rates: Mapping[str, float] = {f"{n * BITS / 1000:g}k": n * BITS for n in (2, 4, 8, 16, 32)}
    default_rate = "1.5k"
    license = "Apache-2.0 (transformers); none stated for the weights"
    published = RELEASE
    package = "transformers"

    def info(self, rate: str) -> CodecInfo:
        """What is known of EnCodec at `rate`."""
        count = round(self.rates[rate] / BITS)
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, (CODEBOOK,) * count, PARAMETERS + count * CODEBOOK * DIMENSION,
            "Apache-2.0", RELEASE.license, str(RELEASE), causal=True, depends_on=(LEVEL,),
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """EnCodec at `rate` with the weights that `EncodecModel.save_pretrained` wrote to the folder `weights`.

        Raises MissingError where they are not there, or are those of the 32 or 48 kHz model.
        """
        spec = self.spec(rate)
        files = locate(weights, pretrained.FILES, spec)
        model = pretrained.load("EncodecModel", "encodec", weights, device, spec)
        config, count = model.config, round(self.rates[rate] / BITS)
        found = (config.sampling_rate, config.hop_length, config.codebook_size, config.normalize, config.chunk_length)
        if found != (SAMPLE_RATE, HOP, CODEBOOK, False, None) or config.num_quantizers < count:
            raise MissingError(f"{spec}: {weights} is not EnCodec's 24 kHz model")
        return EncodecCodec(spec, model, self.info(rate), details(files, "transformers"))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """EnCodec as released, with random weights."""

        def make() -> Any:
            model = pretrained.fresh("EncodecModel")
            for layer in model.quantizer.layers:  # else zeros, and every code is 0
                layer.codebook.embed.normal_()
            return model

        return EncodecCodec(self.spec(rate), draw(make, device), self.info(rate), RANDOM)


FAMILY = EncodecFamily()

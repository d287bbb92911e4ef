"""DAC (Kumar et al., 2023, arXiv 2306.06546) by transformers' DacModel, at 16, 24 and 44.1 kHz.

Each model supports several rates, depending on how many of its codebooks of 1024 are used: `6k-16khz` uses all twelve
of the 16 kHz model, `1k-16khz` the first two. Sampling rate, hop and number of codebooks are checked against the
model's config.json when it is opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.codecs import LEVEL, Codec, CodecInfo, Network
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

CODEBOOK = 1024


@dataclass(frozen=True)
class Model:
    """One of the released models."""

    sample_rate: int
    hop: int
    codebooks: int
    parameters: int
    """All codebooks among them."""
    release: Release

    @property
    def bits(self) -> float:
        """Bit/s of one codebook."""
        return 10 * self.sample_rate / self.hop


def _release(name: str, revision: str, size: int, **sha256: str) -> Release:
    digests = {f"{stem}.{'json' if stem == 'config' else 'safetensors'}": digest for stem, digest in sha256.items()}
    return Release(f"descript/dac_{name}", pretrained.FILES, "none stated", revision, digests, size)


MODELS = {
    "16khz": Model(
        16_000, 320, 12, 74_141_697, _release("16khz", "7c2fc5e759f1f501aefc6e7a0265cc57f5d17ba7", 297_000_000)
    ),
    "24khz": Model(
        24_000, 320, 32, 74_653_857,
        _release("24khz", "6ba020b5ba7d9d8076fb90db7e67f27e31980f6e", 298_652_268,
                 model="7452e3fc6972991da871ae1a1c9d3e8e219aa247cc0f757018867d6a7fe59aaf"),
    ),
    "44khz": Model(
        44_100, 512, 9, 76_620_777,
        _release("44khz", "c1bc521685adf9cfe247bc39a5ca58917eda1ac4", 306_507_276,
                 model="6128ebff483a41422b0164d079a3773b0d8d82e64c4293d775994cbf8baf913a",
                 config="4eb55fb9af1990b8d608184ad29b70e358589719af7ea8d3c06998f7c2264a64"),
    ),
}  # fmt: skip
"""No license stands on the hub's cards; third parties call the weights MIT, as the authors' code is."""
STRIDES = {320: (2, 4, 5, 8), 512: (2, 4, 8, 8)}
"""Of the encoder, by hop; the decoder's are the same the other way round."""
LOOKAHEAD = {320: (2493.0, 3141.0), 512: (3733.0, 4757.0)}
"""Samples of encoder and decoder, by hop."""
PER_CODEBOOK = 25_608
"""Parameters of one codebook and its projections."""
VARIANTS = {
    f"{count * model.bits / 1000:.4g}k-{name}": (model, count)
    for name, model in MODELS.items()
    for count in range(1, model.codebooks + 1)
}


class DacCodec(NetworkCodec):
    """The first codebooks of a DacModel: N = ceil(T / hop), filled up to whole frames, which upstream would drop.

    Upstream's decoder makes 8 samples less than N * hop where a stride is odd (16 and 24 kHz): they are zeros here.
    """

    residual = True

    @property
    def lookahead(self) -> tuple[float, float]:
        """By the strides."""
        return LOOKAHEAD[prod(self._model.config.downsampling_ratios)]

    def tokens(self, audio: "Tensor") -> "Tensor":
        from torch.nn.functional import pad

        whole = pad(audio, (0, -len(audio) % prod(self._model.config.downsampling_ratios)))
        return self._model.encode(whole[None, None], n_quantizers=len(self.codebook_sizes)).audio_codes[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(audio_codes=tokens[None]).audio_values[0]

    def network(self) -> Network:
        """The DacModel, for batches of equal lengths of whole frames."""
        model, count = self._model, len(self.codebook_sizes)
        return Network(
            model,
            lambda audio: model.encode(audio[:, None], n_quantizers=count).audio_codes,
            lambda tokens: model.decode(audio_codes=tokens).audio_values,
            lambda audio: model.encoder(audio[:, None]),
            batched=True,
        )


LISTED = ("1k-16khz", "6k-16khz", "1.5k-24khz", "24k-24khz", "7.752k-44khz")
"""Rates that stand for all of them in `evalkit list codecs`."""


class DacFamily(ReleasedFamily):
    """The released models with 1 to all of their codebooks."""

    name = "dac"
    rates: Mapping[str, float] = {label: count * model.bits for label, (model, count) in VARIANTS.items()}
    default_rate = "6k-16khz"
    license = "Apache-2.0 (transformers); none stated for the weights"
    package = "transformers"

    def release(self, rate: str) -> Release:
        """The weights of the model that `rate` names."""
        return VARIANTS[rate][0].release

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model and its codebooks at `rate`."""
        model, count = VARIANTS[rate]
        return CodecInfo(
            model.sample_rate, model.sample_rate / model.hop, (CODEBOOK,) * count,
            model.parameters - (model.codebooks - count) * PER_CODEBOOK, "Apache-2.0", model.release.license,
            str(model.release), causal=False, depends_on=(LEVEL,), listed=rate in LISTED,
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """DAC at `rate` with the weights that `DacModel.save_pretrained` wrote to the folder `weights`.

        Raises MissingError where they are not there, or are another model's.
        """
        spec, (about, _) = self.spec(rate), VARIANTS[rate]
        files = locate(weights, pretrained.FILES, spec)
        model = pretrained.load("DacModel", "dac", weights, device, spec)
        config = model.config
        found = (config.sampling_rate, prod(config.downsampling_ratios), config.n_codebooks, config.codebook_size)
        if found != (about.sample_rate, about.hop, about.codebooks, CODEBOOK):
            raise MissingError(
                f"{spec} takes {about.sample_rate} Hz, hop {about.hop} and {about.codebooks} codebooks of {CODEBOOK}; "
                f"{weights} has {found[0]} Hz, hop {found[1]} and {found[2]} codebooks of {found[3]}"
            )
        return DacCodec(spec, model, self.info(rate), details(files, "transformers"))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model as released, with random weights."""
        about, strides = VARIANTS[rate][0], STRIDES[VARIANTS[rate][0].hop]
        options = {
            "downsampling_ratios": strides, "upsampling_ratios": strides[::-1], "hop_length": about.hop,
            "sampling_rate": about.sample_rate, "n_codebooks": about.codebooks,
        }  # fmt: skip
        model = draw(lambda: pretrained.fresh("DacModel", **options), device)
        return DacCodec(self.spec(rate), model, self.info(rate), RANDOM)


FAMILY = DacFamily()

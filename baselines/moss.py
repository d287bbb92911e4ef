"""MOSS-Audio-Tokenizer (OpenMOSS, 2026): 24 kHz, 12.5 frames/s, 1 to 32 codebooks of 1024; causal.

This project's own implementation (moss_model.py) reads the released shards (7.1 GB). One model serves all rates: each
codebook adds 125 bit/s. Audio is padded with zeros to whole frames. Upstream codes a partly filled last frame as if it
were empty; here, the tokens are those of upstream for the padded audio.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo

from .network import RANDOM, NetworkCodec, draw, spread
from .tensors import assemble, configured, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 24_000
HOP = 1920
FRAME_RATE = SAMPLE_RATE / HOP
CODEBOOK = 1024
QUANTIZERS = 32
BITS = 10 * FRAME_RATE
"""Bit/s of one codebook."""
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
RELEASE = Release(
    "OpenMOSS-Team/MOSS-Audio-Tokenizer",
    (CONFIG, INDEX, *SHARDS),
    "Apache-2.0",
    sha256={
        SHARDS[0]: "037f441ed30a0ab59f6049de83b824a1b3bd6feb7dbd46c3fbca41fc2f649f28",
        SHARDS[1]: "a187d73d2cda1c2d0676586d9d03c09c0a5813450266af32029c871493fc9582",
    },
    size=7_100_000_000,
)
"""The sha256 are those that a mirror states, which calls its files unmodified."""
STAGES = ((240, 768, 384, 12, 12), (768, 768, 384, 12, 12), (768, 768, 640, 12, 12), (1280, 1280, 768, 20, 32))
"""Of the encoder: channels that come in, width, channels that go out, heads, layers. The decoder mirrors it."""
QUANTIZER = {
    "quantizer_type": "rlfq", "input_dim": 768, "output_dim": 768, "rvq_dim": 512, "codebook_size": CODEBOOK,
    "codebook_dim": 8, "num_quantizers": QUANTIZERS,
}  # fmt: skip
PARAMETERS = 1_774_548_480
"""All 32 codebooks among them."""
PER_CODEBOOK = 16_904
"""Parameters of one codebook and its linear layers."""
LISTED = ("0.125k", "0.5k", "1k", "2k", "4k")
"""Rates that `evalkit list codecs` shows."""


class MossCodec(NetworkCodec):
    """The first codebooks of a `Moss`: N = ceil(T / 1920)."""

    residual = True

    def tokens(self, audio: "Tensor") -> "Tensor":
        from torch.nn.functional import pad

        return self._model.encode(pad(audio, (0, -len(audio) % HOP))[None], len(self.codebook_sizes))[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None])[0]


class MossFamily(ReleasedFamily):
    """The released model with 1 to 32 codebooks."""

    name = "moss"
    rates: Mapping[str, float] = {f"{n * BITS / 1000:g}k": n * BITS for n in range(1, QUANTIZERS + 1)}
    default_rate = "2k"
    license = "Apache-2.0 (this implementation, and the weights)"
    published = RELEASE

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model at `rate`."""
        count = round(self.rates[rate] / BITS)
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, (CODEBOOK,) * count, PARAMETERS - (QUANTIZERS - count) * PER_CODEBOOK,
            "Apache-2.0", RELEASE.license, str(RELEASE), causal=True, depends_on=(LEVEL,), listed=rate in LISTED,
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with `config.json`, the index and the shards that it names in the folder `weights`.

        Raises:
            MissingError: they are not there, are damaged, or hold another model.
        """
        spec = self.spec(rate)
        config, index = locate(weights, (CONFIG, INDEX), spec)
        shards = configured(index, lambda about: sorted(set(map(str, about["weight_map"].values()))), spec, "shards")
        files = locate(weights, shards, spec)
        model = load(config, files, spec)
        return MossCodec(spec, model.to(device), self.info(rate), details([config, index, *files]))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model in its published widths, with random weights."""
        from .moss_model import Moss, Shape

        model = draw(lambda: spread(Moss(Shape.of(described()))), device)
        return MossCodec(self.spec(rate), model, self.info(rate), RANDOM)


def described(stages: Sequence[Sequence[int]] = STAGES, quantizer: Mapping[str, Any] = QUANTIZER) -> dict[str, Any]:
    """What matters of `config.json`.

    Args:
        stages: As `STAGES`.
        quantizer: As `QUANTIZER`.

    Returns:
        The configuration.
    """

    def stage(before: int, width: int, after: int, heads: int, layers: int) -> dict[str, Any]:
        return {
            "module_type": "Transformer", "causal": True, "conv_layout": True, "d_model": width,
            "dim_feedforward": 4 * width, "gating": "none", "input_dimension": before, "layer_scale": 0.01,
            "max_period": 10_000, "norm": "layer_norm", "num_heads": heads, "num_layers": layers,
            "output_dimension": after, "positional_embedding": "rope",
        }  # fmt: skip

    encoder, decoder = [], []
    for number, (before, width, after, heads, layers) in enumerate(stages):
        fold = {"module_type": "PatchedPretransform", "patch_size": 2 if number else 240}
        encoder += [fold, stage(before, width, after, heads, layers)]
        decoder += [fold, stage(after, width, before, heads, layers)]
    return {
        "model_type": "speech_tokenizer", "sampling_rate": SAMPLE_RATE, "downsample_rate": HOP,
        "causal_transformer_context_duration": 10, "quantizer_type": "rlfq", "quantizer_kwargs": dict(quantizer),
        "encoder_kwargs": encoder, "decoder_kwargs": decoder[::-1],
    }  # fmt: skip


def load(config: Path, shards: Sequence[Path], spec: str) -> Any:
    """The model that a configuration describes.

    Args:
        config: `config.json`.
        shards: Files of tensors.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The files do not make one.
    """
    from .moss_model import Moss, Shape

    def released(about: Mapping[str, Any]) -> Shape:
        shape = Shape.of(about)
        found = (shape.sample_rate, shape.hop, shape.codebook, shape.quantizers)
        if found != (SAMPLE_RATE, HOP, CODEBOOK, QUANTIZERS):
            raise ValueError(f"{found[0]} Hz, hop {found[1]} and {found[3]} codebooks of {found[2]}")
        return shape

    shape = configured(config, released, spec)
    return assemble(Moss, lambda _: shape, plain(read(path, spec) for path in shards), shards, spec)


def plain(shards: Iterable[Mapping[str, "Tensor"]]) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors of all shards, with weight normalisation folded."""
    from nanocodec.layers import fold_tensors

    state: dict[str, Tensor] = {}
    for shard in shards:
        state |= shard
    yield from fold_tensors(state).items()


FAMILY = MossFamily()

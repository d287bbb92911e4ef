"""SpeechTokenizer (Zhang et al., 2023, arXiv 2308.16692): 16 kHz, 50 frames/s, 1 to 8 codebooks of 1024.

This project's own implementation (speechtokenizer_model.py) reads the released files. One model serves all rates: each
codebook adds 500 bit/s.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo

from .network import RANDOM, NetworkCodec, draw, spread
from .tensors import assemble, configured, read
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
FOLDER = "speechtokenizer_hubert_avg"
CONFIG, TENSORS = "config.json", "SpeechTokenizer.pt"
RELEASE = Release(
    "fnlp/SpeechTokenizer", (f"{FOLDER}/{CONFIG}", f"{FOLDER}/{TENSORS}"), "none stated", size=482_000_000
)
PUBLISHED = {
    "n_filters": 64, "strides": [8, 5, 4, 2], "dimension": 1024, "semantic_dimension": 768, "bidirectional": True,
    "dilation_base": 2, "residual_kernel_size": 3, "n_residual_layers": 1, "lstm_layers": 2, "activation": "ELU",
    "codebook_size": 1024, "n_q": 8, "sample_rate": 16_000,
}  # fmt: skip
"""What matters of `config.json`."""
PARAMETERS = 102_877_633
"""Without what serves training only, and the codebooks, which are buffers."""
UNUSED = re.compile(r"transform\..*|quantizer\.vq\.layers\.\d+\._codebook\.(inited|cluster_size|embed_avg)")
LISTED = ("0.5k", "1k", "2k", "4k")
"""Rates that `evalkit list codecs` shows."""


class SpeechTokenizerCodec(NetworkCodec):
    """The first codebooks of a `SpeechTokenizer`: N = ceil(T / 320)."""

    residual = True

    def tokens(self, audio: "Tensor") -> "Tensor":
        return self._model.encode(audio[None], len(self.codebook_sizes))[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None])[0]


class SpeechTokenizerFamily(ReleasedFamily):
    """The model that HuBERT's average layer taught, with 1 to 8 codebooks."""

    name = "speechtokenizer"
    rates: Mapping[str, float] = {f"{n * BITS / 1000:g}k": n * BITS for n in range(1, 9)}
    default_rate = "4k"
    license = "Apache-2.0 (this implementation); none stated for the weights"
    published = RELEASE

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model at `rate`."""
        count = round(self.rates[rate] / BITS)
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, (CODEBOOK,) * count, PARAMETERS + count * CODEBOOK * DIMENSION, "Apache-2.0",
            RELEASE.license, str(RELEASE), causal=False, depends_on=(LEVEL,), listed=rate in LISTED,
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with `config.json` and `SpeechTokenizer.pt` in the folder `weights`, or in the one below it
        that the release has.

        Raises:
            MissingError: they are not there, are damaged, or hold another model.
        """
        spec = self.spec(rate)
        folder = weights / FOLDER if (weights / FOLDER).is_dir() else weights
        config, path = locate(folder, (CONFIG, TENSORS), spec)
        model = load(config, path, spec)
        return SpeechTokenizerCodec(spec, model.to(device), self.info(rate), details([config, path]))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model in its published widths, with random weights."""
        from .speechtokenizer_model import Shape, SpeechTokenizer

        model = draw(lambda: spread(SpeechTokenizer(Shape.of(PUBLISHED))), device)
        return SpeechTokenizerCodec(self.spec(rate), model, self.info(rate), RANDOM)


def load(config: Path, path: Path, spec: str) -> Any:
    """The model that a configuration describes. Nothing in the files is executed.

    Args:
        config: `config.json`.
        path: A checkpoint.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The files do not make one.
    """
    from .speechtokenizer_model import Shape, SpeechTokenizer

    def released(about: Mapping[str, Any]) -> Shape:
        shape = Shape.of(about)
        found = (about["sample_rate"], shape.hop, shape.codebook, shape.quantizers)
        if found != (SAMPLE_RATE, HOP, CODEBOOK, 8):
            raise ValueError(f"{found[0]} Hz, hop {found[1]} and {found[3]} codebooks of {found[2]}")
        return shape

    shape = configured(config, released, spec)
    return assemble(SpeechTokenizer, lambda _: shape, plain(read(path, spec), shape.quantizers), [path], spec)


def plain(state: Mapping[str, "Tensor"], quantizers: int) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors under this project's names, with weight normalisation folded.

    Args:
        state: Under upstream's names.
        quantizers: How many the model has.

    Yields:
        Names and tensors.
    """
    import torch

    from nanocodec.layers import fold_tensors

    stem = "quantizer.vq.layers.{}._codebook.embed"
    books = [stem.format(number) for number in range(quantizers)]
    yield "books", torch.stack([state[name].float() for name in books])
    for name, tensor in fold_tensors(state).items():
        if name not in books and not UNUSED.fullmatch(name):
            yield re.sub(r"\.(conv\.conv|convtr\.convtr)\.", ".", name.replace("coder.model.", "coder.", 1)), tensor


FAMILY = SpeechTokenizerFamily()

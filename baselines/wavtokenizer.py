"""WavTokenizer (Ji et al., 2024, arXiv 2408.16532): 24 kHz, one codebook of 4096, 75 or 40 tokens a second.

This project's own implementation (wavtokenizer_model.py) reads the public checkpoints. It is often unclear which of
them a paper means by "WavTokenizer, 0.9 kbit/s", so the rate's label names the training data: `0.9k-small` (LibriTTS),
`0.9k-medium`, `0.9k-large`; plain `0.9k` is the large one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo, Network
from evalkit.errors import MissingError

from .network import RANDOM, NetworkCodec, draw
from .tensors import assemble, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 24_000
CODEBOOK = 4096
HOPS = {"0.9k": 320, "0.48k": 600}
STRIDES = {320: (2, 4, 5, 8), 600: (4, 5, 5, 6)}
"""Of the encoder, by hop."""
LOOKAHEAD = {320: 1195.0, 600: 2278.0}
"""Samples, by hop."""


def _release(name: str, file: str, sha256: str, size: int, revision: str | None = None) -> Release:
    return Release(f"novateur/WavTokenizer{name}", (file,), "MIT", revision, {file: sha256}, size)


RELEASES = {
    "0.48k-large": _release(
        "-large-unify-40token", "wavtokenizer_large_unify_600_24k.ckpt",
        "72182c1b6bd5ea7f84cf3ec78a0a3244cf42daa660b2e9bce23f5d74064d8205", 1_760_000_000,
    ),
    "0.48k-small": _release(
        "", "WavTokenizer_small_600_24k_4096.ckpt",
        "d44c40fbb83d2d42329ac098e252a31b5708fb7b3bf864d108dd3ed26911d004", 1_589_082_492,
        "8040025592781c0993deb46dc0a503579cab5f54",
    ),
    "0.9k-large": _release(
        "-large-speech-75token", "wavtokenizer_large_speech_320_v2.ckpt",
        "5dd430d5f0d96e2313babb1b896d0f990b65bfd143b2894fc3851cfc3cca9846", 1_754_880_893,
    ),
    "0.9k-medium": _release(
        "-medium-speech-75token", "wavtokenizer_medium_speech_320_24k_v2.ckpt",
        "633cc3b5b4b008318df15c995218a7820df52c74873bc8c9343be1d3a3184d78", 1_754_884_152,
        "8858552e69270816d6aeb37bfcf3b770769d4899",
    ),
    "0.9k-small": _release(
        "", "WavTokenizer_small_320_24k_4096.ckpt",
        "721a204fcfadf720b1136660b466c53d482c63fdfcaa0ac2a824bf2a006217b6", 1_584_739_132,
        "8040025592781c0993deb46dc0a503579cab5f54",
    ),
}  # fmt: skip
"""Lightning checkpoints, most of which is discriminators and the state of optimizers. Of the two large ones no full
revision was known: the newest is taken, and the sha256 says whether it is the one meant."""
PARAMETERS = {320: 73_784_690, 600: 74_146_258}
"""Those of the model with the published widths, by hop."""

GENERATOR = ("feature_extractor.", "backbone.", "head.")
ENCODER = "feature_extractor.encodec.encoder.model."
CODEBOOKS = "feature_extractor.encodec.quantizer.vq.layers.0._codebook."
UNUSED = (
    "feature_extractor.encodec.decoder.",
    *(f"{CODEBOOKS}{name}" for name in ("inited", "cluster_size", "embed_avg")),
)
"""Of the generator, but for training only, or never used at all."""


class WavTokenizerCodec(NetworkCodec):
    """A `WavTokenizer`: N = ceil(T / hop)."""

    @property
    def lookahead(self) -> tuple[float, float]:
        """Of the encoder by its strides; the decoder attends to all frames."""
        return LOOKAHEAD[self._model.shape.hop], inf

    def tokens(self, audio: "Tensor") -> "Tensor":
        return self._model.encode(audio[None])

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens)[0]

    def network(self) -> Network:
        """The model, for batches of equal lengths."""
        model = self._model
        return Network(
            model,
            lambda audio: model.encode(audio)[:, None],
            lambda tokens: model.decode(tokens[:, 0]),
            lambda audio: model.encoder(audio[:, None]),
            batched=True,
        )


class WavTokenizerFamily(ReleasedFamily):
    """The released checkpoints."""

    name = "wavtokenizer"
    rates: Mapping[str, float] = {label: SAMPLE_RATE / HOPS[label.split("-")[0]] * 12 for label in RELEASES}
    default_rate = "0.9k-large"
    license = "Apache-2.0 (this implementation); MIT (weights)"

    def release(self, rate: str) -> Release:
        """The checkpoint that the label `rate` names."""
        return RELEASES[rate]

    def note(self, rate: str) -> str:
        """Which of the checkpoints it is: papers often leave that out."""
        return f"the checkpoint is {RELEASES[rate].files[0]}"

    def info(self, rate: str) -> CodecInfo:
        """What is known of the checkpoint."""
        hop, release = HOPS[rate.split("-")[0]], RELEASES[rate]
        return CodecInfo(
            SAMPLE_RATE, SAMPLE_RATE / hop, (CODEBOOK,), PARAMETERS[hop], "Apache-2.0", release.license, str(release),
            causal=False, depends_on=(LEVEL,),
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with a Lightning checkpoint: a file, or the folder of the file that `rate` names.

        Raises MissingError where it is not there, is damaged, holds anything but numbers, has other tensors than a
        WavTokenizer, or another hop or codebook than `rate` says.
        """
        spec = self.spec(rate)
        path = locate(weights, RELEASES[rate].files, spec)[0] if not weights.is_file() else weights
        model = load(path, spec)
        found, wanted = (model.shape.hop, model.shape.codebook), (HOPS[rate.split("-")[0]], CODEBOOK)
        if found != wanted:
            raise MissingError(
                f"{spec} has hop {wanted[0]} and {wanted[1]} codes, {path} hop {found[0]} and {found[1]} codes"
            )
        return WavTokenizerCodec(spec, model.to(device), self.info(rate), details([path]))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model in its published widths, with random weights."""
        import torch

        from .wavtokenizer_model import PUBLISHED, WavTokenizer

        hop = HOPS[rate.split("-")[0]]
        shape = replace(PUBLISHED, strides=STRIDES[hop], window=4 * hop)

        def make() -> Any:
            model: Any = WavTokenizer(shape)
            model.codebook.normal_()
            model.head.istft.window.copy_(torch.hann_window(4 * hop))
            for block in model.backbone.convnext:
                block.gamma.fill_(0.3)  # 0, in which training begins, would leave the block out
            return model

        return WavTokenizerCodec(self.spec(rate), draw(make, device), self.info(rate), RANDOM)


def load(path: Path, spec: str) -> Any:
    """The model in a public checkpoint. Nothing in the file is executed.

    Args:
        path: The checkpoint.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The file holds none.
    """
    from .wavtokenizer_model import Shape, WavTokenizer

    return assemble(WavTokenizer, Shape.of, plain(read(path, spec)), [path], spec)


def plain(checkpoint: Mapping[str, Mapping[str, "Tensor"]]) -> Iterator[tuple[str, "Tensor"]]:
    """The generator's tensors under this project's names, with weight normalisation folded."""
    from nanocodec.layers import fold_tensors

    state = checkpoint["state_dict"]
    generator = {name: t for name, t in state.items() if name.startswith(GENERATOR) and not name.startswith(UNUSED)}
    for name, tensor in fold_tensors(generator).items():
        if name.endswith(("norm.scale.weight", "norm.shift.weight")):
            name = name.replace("scale.weight", "weight").replace("shift.weight", "bias")
            tensor = tensor[0]
        name = name.replace(ENCODER, "encoder.").replace(f"{CODEBOOKS}embed", "codebook").replace(".conv.conv.", ".")
        yield name, tensor


FAMILY = WavTokenizerFamily()

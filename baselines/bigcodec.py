"""BigCodec (Xin et al., 2024, arXiv 2409.05377): 16 kHz, one codebook of 8192, 80 tokens a second.

This project's own implementation (bigcodec_model.py) reads the released file. Like upstream, it pads audio to whole
hops by at least one sample, so audio that is already a whole number of hops gets one more token. It is slow on a CPU:
several seconds each way per second of audio.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo
from evalkit.errors import MissingError

from .network import RANDOM, NetworkCodec, draw, spread
from .tensors import assemble, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
HOP = 200
FRAME_RATE = SAMPLE_RATE / HOP
CODEBOOK = 8192
RELEASE = Release("Alethia/BigCodec", ("bigcodec.pt",), "CC-BY-SA-4.0", size=638_000_000)
PARAMETERS = 159_408_841
PARTS = {
    "CodecEnc": {"block.": "encoder."},
    "generator": {"quantizer.layers.0.": "quantizer.", "model.": "decoder."},
}
"""Parts of the file, and what names begin with there and here."""
FILTERS = (".upsample.filter", ".downsample.lowpass.filter")
"""The same in every activation; they are computed here."""


class BigCodecCodec(NetworkCodec):
    """A `BigCodec`: N = floor(T / 200) + 1."""

    def tokens(self, audio: "Tensor") -> "Tensor":
        from torch.nn.functional import pad

        return self._model.encode(pad(audio, (0, HOP - len(audio) % HOP))[None])

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens)[0]


class BigCodecFamily(ReleasedFamily):
    """The released model."""

    name = "bigcodec"
    default_rate = "1.04k"
    rates: Mapping[str, float] = {default_rate: 13 * FRAME_RATE}
    license = "Apache-2.0 (this implementation); CC-BY-SA-4.0 (weights)"
    published = RELEASE

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model."""
        return CodecInfo(
            SAMPLE_RATE,
            FRAME_RATE,
            (CODEBOOK,),
            PARAMETERS,
            "Apache-2.0",
            RELEASE.license,
            str(RELEASE),
            causal=False,
            depends_on=(LEVEL,),
        )

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with a checkpoint: a file, or the folder with `bigcodec.pt`.

        Raises:
            MissingError: it is not there, is damaged, holds anything but tensors, or another model.
        """
        spec = self.spec(rate)
        path = weights if weights.is_file() else locate(weights, RELEASE.files, spec)[0]
        model = load(path, spec)
        if model.shape.codebook != CODEBOOK:
            raise MissingError(f"{spec} has {CODEBOOK} codes, {path} {model.shape.codebook}")
        return BigCodecCodec(spec, model.to(device), self.info(rate), details([path]))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model in its published widths, with random weights."""
        from .bigcodec_model import PUBLISHED, BigCodec

        model = draw(lambda: spread(BigCodec(PUBLISHED)), device)
        return BigCodecCodec(self.spec(rate), model, self.info(rate), RANDOM)


def load(path: Path, spec: str) -> Any:
    """The model in a released checkpoint. Nothing in it is executed.

    Args:
        path: The checkpoint.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The file holds none.
    """
    from .bigcodec_model import BigCodec, Shape

    return assemble(BigCodec, Shape.of, plain(read(path, spec)), [path], spec)


def plain(checkpoint: Mapping[str, Mapping[str, "Tensor"]]) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors under this project's names, with weight normalisation folded."""
    from nanocodec.layers import fold_tensors

    for part, beginnings in PARTS.items():
        for name, tensor in fold_tensors(checkpoint[part]).items():
            if name.endswith(FILTERS):
                continue
            theirs = next(one for one in beginnings if name.startswith(one))
            ours = beginnings[theirs] + name.removeprefix(theirs).replace("act.", "").replace("_codebook.", "codebook.")
            yield ours, tensor[..., None] if "_proj.weight" in ours else tensor


FAMILY = BigCodecFamily()

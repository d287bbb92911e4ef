"""Lyra v2 (Google, 2022): 16 kHz, 50 frames/s, 16, 30 or 46 codebooks of 16 entries; causal, without delay.

The published TensorFlow Lite files are loaded (tflite.py) into this project's own networks (lyra_model.py). Upstream
runs them in LiteRT, partly with 8-bit integers, and its tokens depend on which LiteRT kernels compute them: two kernels
agree on 98 % of the tokens of the first codebook and on 49 % of those of all 46. This implementation agrees with
upstream's kernels as well as the kernels agree with each other; docs/reference/codecs.md has the numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo
from evalkit.errors import MissingError

from .network import RANDOM, NetworkCodec, draw, spread
from .tflite import CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, Operator, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
HOP = 320
FRAME_RATE = SAMPLE_RATE / HOP
ENTRIES = 16
QUANTIZERS = {"3.2k": 16, "6k": 30, "9.2k": 46}
"""Upstream refuses other counts."""
ENCODER, QUANTIZER, DECODER = "soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite"
REVISION = "47698dadf0010abff6a848e02642f55f806d4842"
RELEASE = Release(
    "google/lyra",
    (ENCODER, QUANTIZER, DECODER),
    "Apache-2.0",
    REVISION,
    {
        ENCODER: "237da0b16226fb0a68d49551c81bebf614e42142af72764448359f68581e88f1",
        QUANTIZER: "841ee05989687d32d1f616a8ad1419fc7eda37599d3c05c7cf5a0d60ccf8ac5c",
        DECODER: "50e7839cda4f30599a3a34cfaddcd9c98449b049eee884e1a74295780448ad06",
    },
    3_583_372,
    address=f"https://raw.githubusercontent.com/google/lyra/{REVISION}/lyra/model_coeffs",
)
PARAMETERS = 1_317_953
"""Without the codebooks."""
SQUARED_DIFFERENCE = 99
"""In the graph that quantises, what is left of the features is held to each codebook in turn."""


class LyraCodec(NetworkCodec):
    """A `Lyra`: N = ceil(T / 320). Audio is clipped at full scale, as upstream's is by its 16 bits."""

    residual = True

    def tokens(self, audio: "Tensor") -> "Tensor":
        from torch.nn.functional import pad

        whole = pad(audio, (0, -len(audio) % HOP))
        return self._model.encode(whole[None], len(self.codebook_sizes))[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None])[0].clamp(-1, 32767 / 32768)


class LyraFamily(ReleasedFamily):
    """The released networks at their three rates."""

    name = "lyra"
    rates: Mapping[str, float] = {rate: count * 4 * FRAME_RATE for rate, count in QUANTIZERS.items()}
    default_rate = "3.2k"
    license = "Apache-2.0 (this implementation, and the weights)"
    published = RELEASE

    def info(self, rate: str) -> CodecInfo:
        """What is known of the networks and the codebooks at `rate`."""
        count = QUANTIZERS[rate]
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, (ENTRIES,) * count, PARAMETERS + count * ENTRIES * 64, "Apache-2.0",
            RELEASE.license, str(RELEASE), causal=True, depends_on=(LEVEL,),
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """Lyra at `rate` with the three published files in the folder `weights`.

        Raises:
            MissingError: they are not there, are damaged, or hold other networks.
        """
        spec = self.spec(rate)
        files = locate(weights, RELEASE.files, spec)
        about = details(files) | {"arithmetic": "float32, 8-bit weights dequantized"}
        return LyraCodec(spec, load(files, spec).to(device), self.info(rate), about)

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """Lyra at `rate` with random weights."""
        from .lyra_model import Lyra

        return LyraCodec(self.spec(rate), draw(lambda: spread(Lyra()), device), self.info(rate), RANDOM)


def load(files: Sequence[Path], spec: str) -> Any:
    """The networks in the published files.

    Args:
        files: In the order of `RELEASE.files`.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: A file is damaged, or holds another network.
    """
    import torch

    from .lyra_model import Lyra

    model = Lyra()
    for path, network in zip(files, (model.encoder, None, model.decoder), strict=True):
        try:
            graphs = read(path)
            with torch.no_grad():
                if network is None:
                    model.books.copy_(torch.stack([torch.from_numpy(book.copy()) for book in books(graphs)]))
                else:
                    fill(network, graphs[0])
        except (OSError, ValueError, IndexError, RuntimeError) as error:
            raise MissingError(f"{spec}: {path} is not Lyra's network of that name ({error})") from error
    return model.eval()


def books(graphs: Sequence[Sequence[Operator]]) -> Iterator[Any]:
    """The codebooks, in order, out of the graph that quantises."""
    for graph in graphs:
        yield from (one.constants[1][0] for one in graph if one.code == SQUARED_DIFFERENCE and 1 in one.constants)


def fill(network: Any, operators: Sequence[Operator]) -> None:
    """Give convolutions the weights of a file. Of a grouped transposed convolution the file has a plain one for each
    group.

    Args:
        network: With layers in the order of the file's.
        operators: Of the file.
    """
    import torch
    from torch import nn

    found = [
        tuple(torch.from_numpy(one.constants[place].copy()) for place in (1, 3 if one.code == TRANSPOSE_CONV else 2))
        for one in operators
        if one.code in (CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV)
    ]
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose1d):
            parts, found = found[: layer.groups], found[layer.groups :]
            weight = torch.cat([weight[:, :, 0].permute(2, 0, 1) for weight, _ in parts])  # [out, k, 1, in] each
            bias = torch.cat([bias for _, bias in parts])
        elif isinstance(layer, nn.Conv1d):
            (weight, bias), found = found[0], found[1:]
            depthwise = layer.groups == layer.in_channels > 1
            weight = weight[0, :, 0].T[:, None] if depthwise else weight[:, :, 0].mT  # [1, k, 1, C]; [out, k, 1, in]
        else:
            continue
        if weight.shape != layer.weight.shape or bias.shape != (layer.out_channels,):
            raise ValueError(f"a layer of {tuple(weight.shape)} where {tuple(layer.weight.shape)} is expected")
        layer.weight.copy_(weight)
        if layer.bias is not None:
            layer.bias.copy_(bias)
        elif bias.any():
            raise ValueError("a bias where none is expected")
    if found:
        raise ValueError(f"{len(found)} layers too many")


FAMILY = LyraFamily()

"""FocalCodec (Della Libera et al., 2025, arXiv 2502.04465): 16 kHz, one codebook of 8192, 50, 25 or 12.5 tokens/s.

This project's own implementation (focalcodec_model.py) reads the released files. The level of the audio is neither
coded nor restored: input that is ten times louder gives the same tokens, and level-dependent metrics show it. As in
upstream, up to 25 ms at the end are not coded at 50 tokens/s. The three causal models, which decode to 24 kHz, are not
included, because their configuration was not accessible.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import PADDING, Codec, CodecInfo
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw, spread
from .tensors import assemble, configured, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
CODEBOOK = 8192
HOPS = {"0.16k": 1280, "0.33k": 640, "0.65k": 320}
DOWNSCALE = {"0.16k": [2, 2, 1], "0.33k": [2, 1, 1], "0.65k": [1, 1, 1]}
RELEASES = {
    rate: Release(f"lucadellalib/focalcodec_{name}", pretrained.FILES, "Apache-2.0", size=size)
    for rate, name, size in (
        ("0.16k", "12_5hz", 581_000_000), ("0.33k", "25hz", 577_000_000), ("0.65k", "50hz", 569_000_000)
    )
}  # fmt: skip
OLDER = {"compressor": ("downscale", "focal_block"), "decompressor": ("focal_block", "upscale")}
"""The parts of a layer in their order, by which upstream's first checkpoints number them."""
PARAMETERS = {"0.16k": 145_271_985, "0.33k": 144_223_409, "0.65k": 142_126_257}


class FocalCodecCodec(NetworkCodec):
    """A `FocalCodec`: floor((T - 400) / 320) + 1 features, but at least 1, and a token for 1, 2 or 4 of them."""

    def tokens(self, audio: "Tensor") -> "Tensor":
        return self._model.encode(audio[None])

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens)[0]


class FocalCodecFamily(ReleasedFamily):
    """The released models that look ahead."""

    name = "focalcodec"
    rates: Mapping[str, float] = {rate: 13 * SAMPLE_RATE / hop for rate, hop in HOPS.items()}
    default_rate = "0.65k"
    license = "Apache-2.0 (this implementation, and the weights)"

    def release(self, rate: str) -> Release:
        """The weights of the model at `rate`; no revision is pinned yet."""
        return RELEASES[rate]

    def info(self, rate: str) -> CodecInfo:
        """What is known of the model at `rate`."""
        return CodecInfo(
            SAMPLE_RATE, SAMPLE_RATE / HOPS[rate], (CODEBOOK,), PARAMETERS[rate], "Apache-2.0", "Apache-2.0",
            str(RELEASES[rate]), causal=False, depends_on=(PADDING,),
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with `config.json` and `model.safetensors` in the folder `weights`.

        Raises:
            MissingError: they are not there, are damaged, or hold another model.
        """
        spec = self.spec(rate)
        config, path = locate(weights, pretrained.FILES, spec)
        model = load(config, path, spec)
        if (model.shape.hop, 2**model.shape.bits) != (HOPS[rate], CODEBOOK):
            raise MissingError(
                f"{spec} has hop {HOPS[rate]} and {CODEBOOK} codes, {weights} hop {model.shape.hop} and "
                f"{2**model.shape.bits} codes"
            )
        about = details([config, path]) | {"level": "not coded"}
        return FocalCodecCodec(spec, model.to(device), self.info(rate), about)

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The model in its published widths, with random weights."""
        from .focalcodec_model import FocalCodec, Shape

        model = draw(lambda: spread(FocalCodec(Shape.of(published(rate)))), device)
        return FocalCodecCodec(self.spec(rate), model, self.info(rate), RANDOM)


def published(rate: str) -> dict[str, Any]:
    """The configuration of the model at `rate`, as far as it is known."""
    down, dims, focal = DOWNSCALE[rate], [1024, 512, 256], {"focal_window": 7, "focal_level": 2, "focal_factor": 2}
    return {
        "encoder_name": "WavLM", "encoder_config": {},
        "compressor_name": "FocalEncoder",
        "compressor_config": focal | {
            "input_dim": 1024, "output_dim": 13, "hidden_dims": dims, "downscale_factors": down
        },
        "quantizer_name": "BinarySphericalQuantizer", "quantizer_config": {"codebook_size": CODEBOOK},
        "decompressor_name": "FocalDecoder",
        "decompressor_config": focal | {
            "input_dim": 13, "output_dim": 1024, "hidden_dims": dims[::-1], "upscale_factors": down[::-1]
        },
        "decoder_name": "Vocos", "decoder_config": {"input_dim": 1024},
    }  # fmt: skip


def load(config: Path, path: Path, spec: str) -> Any:
    """The model that a configuration describes.

    Args:
        config: `config.json`.
        path: `model.safetensors`.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The files do not make one.
    """
    from .focalcodec_model import FocalCodec, Shape

    shape = configured(config, Shape.of, spec, "FocalCodec")
    return assemble(FocalCodec, lambda _: shape, plain(read(path, spec), shape.decoder["n_fft"]), [path], spec)


def plain(state: Mapping[str, "Tensor"], window: int) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors under this project's names, and the window [window] that no checkpoint has. Upstream's first
    checkpoints have three projections for attention's one, and numbers where the later ones have names (`OLDER`)."""
    import torch

    yield "decoder.head.istft.window", torch.hann_window(window)
    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue  # come with the first of the three
        if ".q_proj." in name:
            tensor = torch.cat([state[name.replace(".q_proj.", f".{kind}_proj.")] for kind in "qkv"])
            name = name.replace(".q_proj.", ".qkv_proj.")
        if found := re.match(r"((?:de)?compressor)\.layers\.\d+\.([01])\.", name):
            name = f"{name[: found.start(2)]}{OLDER[found[1]][int(found[2])]}{name[found.end(2) :]}"
        yield name.replace("decoder.head.proj.", "decoder.head.out."), tensor.float()


FAMILY = FocalCodecFamily()

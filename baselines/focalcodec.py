"""FocalCodec (Della Libera et al., 2025, arXiv 2502.04465): 16 kHz, one codebook of 8192, 50, 25 or 12.5 tokens/s.

An implementation of this project's own (focalcodec_model.py) that reads the released files. The level of the audio is
not coded and not restored: ten times louder input gives the same tokens, and level-dependent metrics show it. At
50 tokens a second up to 25 ms at the end are not coded, as upstream. The three causal models, at 24 kHz, are not
included: their configuration was not accessible.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import PADDING, CodecInfo
from evalkit.errors import MissingError

from . import pretrained
from .network import NetworkCodec
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
CODEBOOK = 8192
HOPS = {"0.16k": 1280, "0.33k": 640, "0.65k": 320}
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
        config, tensors = locate(weights, pretrained.FILES, spec)
        model = load(config, tensors, spec)
        if (model.shape.hop, 2**model.shape.bits) != (HOPS[rate], CODEBOOK):
            raise MissingError(
                f"{spec} has hop {HOPS[rate]} and {CODEBOOK} codes, {weights} hop {model.shape.hop} and "
                f"{2**model.shape.bits} codes"
            )
        about = details([config, tensors]) | {"level": "not coded"}
        return FocalCodecCodec(spec, model.to(device), self.info(rate), about)


def load(config: Path, tensors: Path, spec: str) -> Any:
    """The model that a configuration describes.

    Args:
        config: `config.json`.
        tensors: `model.safetensors`.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The files do not make one.
    """
    import torch
    from safetensors.torch import load_file

    from .focalcodec_model import FocalCodec, Shape

    try:
        shape = Shape.of(json.loads(config.read_text(encoding="utf-8")))
        with torch.device("meta"):
            model = FocalCodec(shape)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise MissingError(f"{spec}: {config} describes no FocalCodec that can run here ({error})") from error
    window = {"decoder.head.istft.window": torch.hann_window(shape.decoder["n_fft"])}
    try:
        state = dict(plain(load_file(tensors)))
        model.load_state_dict(state | window, strict=True, assign=True)
    except Exception as error:  # safetensors and torch each raise their own
        raise MissingError(f"{spec}: the tensors in {tensors} are not those of {config} ({error})") from error
    return model


def plain(state: Mapping[str, "Tensor"]) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors under this project's names. Upstream's first checkpoints have three projections for attention's one,
    and numbers where the later ones have names (`OLDER`)."""
    import torch

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

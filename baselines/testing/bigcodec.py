"""A BigCodec with seeded weights, in the form of the released file."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..bigcodec import FILTERS, RELEASE
from ..bigcodec_model import PUBLISHED, BigCodec, Shape, lowpass
from . import fill, normed

NARROW = replace(PUBLISHED, filters=2, latents=16, initial=64)


def state(shape: Shape) -> dict[str, dict[str, Tensor]]:
    """Seeded tensors of a model of `shape`, under their released names."""
    model = BigCodec(shape)
    fill(model, 0.7)
    tensors: dict[str, dict[str, Tensor]] = {"CodecEnc": {}, "generator": {}}
    for name, tensor in model.state_dict().items():
        part, _, rest = name.partition(".")
        where = tensors["CodecEnc" if part == "encoder" else "generator"]
        public = {"encoder": "block.", "quantizer": "quantizer.layers.0.", "decoder": "model."}[part] + rest
        if rest.endswith(("alpha", "beta")):
            stem, _, kind = public.rpartition(".")
            where[f"{stem}.act.{kind}"] = tensor.log()  # they are exponents here
            where |= {f"{stem}{filter_}": lowpass(tensor.device)[None, None] for filter_ in FILTERS}
        elif part == "quantizer":
            plain = tensor[..., 0] * 4 if tensor.dim() == 3 else tensor
            public = public.replace(".codebook.", "._codebook.")
            where |= normed(public, plain) if tensor.dim() == 3 else {public: plain}
        else:
            where |= normed(public, tensor) if tensor.dim() == 3 else {public: tensor}
    return tensors


def save(shape: Shape, folder: Path) -> Path:
    """The released file, with what else it may hold; `folder` again."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state(shape) | {"iteration": 7}, folder / RELEASE.files[0])
    return folder


def write(folder: Path, rate: str) -> None:
    """A narrow checkpoint under the released file's name."""
    save(NARROW, folder)

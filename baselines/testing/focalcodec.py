"""A FocalCodec with seeded weights, in the form of the released files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .. import focalcodec
from ..focalcodec_model import FocalCodec, Shape
from . import fill

NARROW: dict[str, dict[str, Any]] = {
    "encoder_config": {
        "hidden_dims": [8] * 7, "num_layers": 2, "dim": 32, "ffn_dim": 48, "num_heads": 4, "conv_pos": 16,
        "conv_pos_groups": 4,
    },
    "compressor_config": {"input_dim": 32, "hidden_dims": [32, 16, 8]},
    "decompressor_config": {"output_dim": 32, "hidden_dims": [8, 16, 32]},
    "decoder_config": {"input_dim": 32, "num_layers": 2, "dim": 24, "ffn_dim": 40},
}  # fmt: skip


def config(rate: str, published: bool = False) -> dict[str, Any]:
    """`config.json` of the release at `rate`, or of a narrower model."""
    about = focalcodec.published(rate)
    return about if published else about | {part: about[part] | options for part, options in NARROW.items()}


def state(about: dict[str, Any]) -> dict[str, Tensor]:
    """Seeded tensors of the model that `about` describes, under their released names."""
    model = FocalCodec(Shape.of(about))
    fill(model)
    with torch.no_grad():
        first: Any = model.encoder.feature_extractor["layers"]
        first[0].conv.weight *= 10_000  # so that the norms' epsilon does not count, by which level could be told
        model.compressor.out_proj.bias.zero_()  # whose signs would be the tokens
        model.decoder.head.out.weight *= 0.3
    tensors = {name.replace("head.out.", "head.proj."): tensor for name, tensor in model.state_dict().items()}
    del tensors["decoder.head.istft.window"]  # upstream computes it
    return tensors


def older(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in the form of upstream's first checkpoints."""
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if ".qkv_proj." in name:
            for kind, third in zip("qkv", tensor.chunk(3), strict=True):
                made[name.replace(".qkv_proj.", f".{kind}_proj.")] = third.clone()
            continue
        whole, _, rest = name.partition(".layers.")
        for number, part in enumerate(focalcodec.OLDER.get(whole, ())):
            rest = rest.replace(f".{part}.", f".{number}.", 1)
        made[f"{whole}.layers.{rest}" if whole in focalcodec.OLDER and rest else name] = tensor
    return made


def save(about: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> Path:
    """`config.json` and `model.safetensors`; `folder` again."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return folder


def write(folder: Path, rate: str) -> None:
    """A narrow model as it was released at `rate`."""
    about = config(rate)
    save(about, state(about), folder)

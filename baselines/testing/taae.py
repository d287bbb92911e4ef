"""A TAAE with seeded weights, in the form of the released files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..taae import CONFIG
from ..taae_model import Shape, Taae
from . import seeded


def taae_config(**options: Any) -> dict[str, Any]:
    """A TAAE's `model_config.json`: small, still with every part, and with `options` of encoder and decoder."""
    options = {
        "channels": 128, "c_mults": [1, 2], "strides": [1, 2], "latent_dim": 6, "transformer_depths": [1, 2],
        "use_snake": False, "sliding_window": [3, 4], "checkpointing": True, "conformer": False, "layer_scale": True,
    } | options  # fmt: skip
    model = {
        "encoder": {"type": "taae", "requires_grad": False, "config": {"in_channels": 320, **options}},
        "decoder": {"type": "taae", "soft_clip": options["use_snake"], "config": {"out_channels": 320, **options}},
        "bottleneck": {"type": "dithered_fsq", "config": {"dim": 6, "levels": 17}},
        "latent_dim": 6,
        "downsampling_ratio": 640,
        "io_channels": 1,
        "pretransform": {"type": "patched", "config": {"patch_size": 320, "channels": 1}},
    }
    return {"model_type": "autoencoder", "sample_size": 81_920, "sample_rate": 16_000, "model": model, "training": {}}


SNAKE = {"c_mults": [1, 1], "use_snake": True, "layer_scale": False, "sliding_window": [-1, -1]}
"""Options of a TAAE that has what the other one lacks."""


def taae_state(config: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Seeded tensors of the model that `config` describes, under their public names; scaled so that latents spread
    over the levels, and every part counts."""
    with torch.device("meta"):
        tensors = Taae(Shape.of(config)).state_dict()
    state: dict[str, Tensor] = {}
    for name, meta in tensors.items():
        parts = name.replace(".ff.proj.", ".ff.ff.0.proj.").replace(".ff.out.", ".ff.ff.2.").split(".")
        public = ".".join([parts[0], "layers", parts[1], *["layers"] * parts[2].isdigit(), *parts[2:]])
        if ".pre_norm." in public or ".ff_norm." in public:
            public = public.replace("weight", "gamma").replace("bias", "beta")
        numbers = seeded(public, tuple(meta.shape), seed)
        if meta.dim() == 3:  # a convolution
            state[f"{public}_v"] = numbers
            loud = {"encoder.layers.0.weight": 8.0, "encoder.layers.4.weight": 0.15, "decoder.layers.4.weight": 0.05}
            state[f"{public}_g"] = loud.get(public, 1.0) * (1 + 0.2 * seeded(f"{public}_g", (len(meta), 1, 1), seed))
            continue
        if meta.dim() == 2:
            numbers *= meta.shape[1] ** -0.5
        elif public.endswith(("gamma", "norm.weight")):
            numbers = 1 + 0.2 * numbers
        else:
            numbers *= 0.2
        state[public] = numbers
        if public.endswith("pre_norm.gamma"):
            block = public.removesuffix("pre_norm.gamma")
            turning = min(len(meta), 128) // 2
            state[f"{block}rope.inv_freq"] = 10_000 ** -(torch.arange(0, turning, 2) / turning)
            if config["model"]["encoder"]["config"]["layer_scale"]:
                for branch in ("self_attn", "ff"):
                    key = f"{block}{branch}_scale.scale"
                    state[key] = 0.5 + 0.1 * seeded(key, (len(meta),), seed)
    return state


def save_taae(config: dict[str, Any], state: dict[str, Tensor], folder: Path, tensors: str = "model.ckpt") -> None:
    """`model_config.json` and a checkpoint beside it, as stable-audio-tools writes both."""
    (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    if tensors.endswith(".safetensors"):
        save_file(state, folder / tensors)
    else:
        torch.save({"state_dict": state}, folder / tensors)


def write(folder: Path, rate: str) -> None:
    """A narrow checkpoint as it was released: one for all rates."""
    save_taae(taae_config(), taae_state(taae_config()), folder, "model.safetensors")

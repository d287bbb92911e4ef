"""Weights made from a seed, in public formats: for tests that have no checkpoint and want the real loading code."""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from .taae import CONFIG
from .taae_model import Shape as TaaeShape
from .taae_model import Taae
from .wavtokenizer import CODEBOOKS, ENCODER
from .wavtokenizer_model import Shape, WavTokenizer

NARROW = Shape((2, 4, 5, 8), 2, 4096, 32, 64, 48, 2, 1280)
"""A WavTokenizer of 75 tokens/s that is small and still has every part."""
PUBLISHED = Shape((2, 4, 5, 8), 32, 4096, 512, 768, 2304, 12, 1280)


def wavtokenizer_state(shape: Shape, seed: int = 0) -> dict[str, Tensor]:
    """The generator of a public WavTokenizer checkpoint with seeded tensors, under their public names.

    The same numbers on every machine, scaled so that every part counts: latents spread over the codebook, norms are
    not neutral, no block is scaled away.
    """
    with torch.device("meta"):
        tensors = WavTokenizer(shape).state_dict()
    state: dict[str, Tensor] = {}
    for name, meta in tensors.items():
        size = tuple(meta.shape)
        if name.startswith("encoder.") and ".lstm." not in name:
            stem, kind = name.removeprefix("encoder.").rsplit(".", 1)
            public = f"{ENCODER}{stem}.conv.conv.{kind}"
            if kind == "weight":
                state[f"{public}_v"] = seeded(f"{public}_v", size, seed)
                state[f"{public}_g"] = 1.5 + 0.2 * seeded(f"{public}_g", (size[0], 1, 1), seed)
                continue
        elif name.startswith("encoder."):
            public = name.replace("encoder.", ENCODER)
        elif name == "codebook":
            public = f"{CODEBOOKS}embed"
        elif name.startswith(("backbone.norm.", "backbone.convnext.")) and ".norm." in name:
            public = name.replace("norm.weight", "norm.scale.weight").replace("norm.bias", "norm.shift.weight")
            size = (4, *size)
        else:
            public = name
        numbers = seeded(public, size, seed)
        if public.endswith("window"):
            numbers = torch.hann_window(*size)
        elif "norm" in public and not public.endswith(("bias", "shift.weight")):
            numbers = 1 + 0.2 * numbers
        elif public.endswith("gamma"):
            numbers = 0.3 + 0.1 * numbers
        elif numbers.dim() > 1 and "norm" not in public and name != "codebook":
            numbers *= 1.2 / (numbers[0].numel() ** 0.5)
        elif name != "codebook":
            numbers *= 0.2
        state[public] = numbers
    return state


def seeded(name: str, size: tuple[int, ...], seed: int) -> Tensor:
    """Normal numbers that depend on nothing but the arguments."""
    generator = np.random.default_rng([seed, crc32(name.encode())])
    return torch.from_numpy(generator.standard_normal(size).astype(np.float32))


def save_wavtokenizer(state: dict[str, Tensor], path: Path) -> None:
    """A Lightning checkpoint as WavTokenizer's are, with what else it holds."""
    more = {
        f"{CODEBOOKS}inited": torch.ones(1),
        f"{CODEBOOKS}cluster_size": torch.ones(4096),
        f"{CODEBOOKS}embed_avg": state[f"{CODEBOOKS}embed"],
        "feature_extractor.encodec.decoder.model.0.conv.conv.bias": torch.zeros(3),
        "multiresddisc.discriminators.0.weight": torch.zeros(3),
    }
    optimizer = {"state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]}
    torch.save(
        {"epoch": 1, "global_step": 9, "pytorch-lightning_version": "1.8.6", "state_dict": state | more,
         "optimizer_states": [optimizer], "lr_schedulers": [], "loops": {}, "callbacks": {}},
        path,
    )  # fmt: skip


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
        tensors = Taae(TaaeShape.of(config)).state_dict()
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

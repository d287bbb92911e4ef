"""A WavTokenizer with seeded weights, in the form of the released checkpoints."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..wavtokenizer import CODEBOOKS, ENCODER, HOPS, RELEASES, STRIDES
from ..wavtokenizer_model import Shape, WavTokenizer
from . import seeded

NARROW = Shape((2, 4, 5, 8), 2, 4096, 32, 64, 48, 2, 1280)
"""A WavTokenizer of 75 tokens/s that is small and still has every part."""


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


def write(folder: Path, rate: str) -> None:
    """A narrow checkpoint under the released file's name."""
    hop = HOPS[rate.split("-")[0]]
    shape = replace(NARROW, strides=STRIDES[hop], window=4 * hop)
    save_wavtokenizer(wavtokenizer_state(shape), folder / RELEASES[rate].files[0])

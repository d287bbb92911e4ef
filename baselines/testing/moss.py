"""A MOSS-Audio-Tokenizer with seeded weights, in the form of the release: shards and their index."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..moss import CONFIG, INDEX, QUANTIZER, SHARDS, STAGES, described
from ..moss_model import Moss, Shape
from . import fill, normed


def config(published: bool = False, layers: int = 0) -> dict[str, Any]:
    """`config.json` of the release, of `layers` a stage if that is not 0; or of a narrower model."""
    if not published:
        quantizer = QUANTIZER | {"input_dim": 20, "output_dim": 20, "rvq_dim": 16}
        return described(((240, 24, 12, 2, 1), (24, 24, 16, 2, 1), (32, 32, 16, 4, 1), (32, 32, 20, 4, 2)), quantizer)
    return described(tuple((*rest, layers or count) for *rest, count in STAGES))


def state(about: dict[str, Any]) -> dict[str, Tensor]:
    """Seeded tensors of the model that `about` describes, under their released names."""
    model = Moss(Shape.of(about))
    fill(model)
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("quantizer.") and tensor.dim() == 3:
            tensors |= normed(name, 2 * tensor if "in_proj" in name else tensor, newer=True)
        else:
            tensors[name] = tensor
    return tensors


def save(about: dict[str, Any], folder: Path) -> Path:
    """`config.json`, two shards and the index of what is in which; `folder` again."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(about), encoding="utf-8")
    tensors = state(about)
    where = {name: SHARDS[number * 2 // len(tensors)] for number, name in enumerate(tensors)}
    for shard in SHARDS:
        kept = {name: tensors[name].contiguous() for name, one in where.items() if one == shard}
        save_file(kept, folder / shard, {"format": "pt"})
    size = sum(tensor.numel() * 4 for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return folder


def write(folder: Path, rate: str) -> None:
    """A narrow model as it was released: one for all rates."""
    with torch.no_grad():
        save(config(), folder)

"""A MOSS-Audio-Tokenizer with seeded weights, in the form of the release: shards and their index."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..moss import CONFIG, INDEX, SHARDS
from ..moss_model import Moss, Shape
from . import fill, normed


def _stage(before: int, width: int, after: int, heads: int, layers: int) -> dict[str, Any]:
    return {
        "module_type": "Transformer", "causal": True, "conv_layout": True, "d_model": width,
        "dim_feedforward": 4 * width, "gating": "none", "input_dimension": before, "layer_scale": 0.01,
        "max_period": 10_000, "norm": "layer_norm", "num_heads": heads, "num_layers": layers,
        "output_dimension": after, "positional_embedding": "rope",
    }  # fmt: skip


def _patch(size: int) -> dict[str, Any]:
    return {"module_type": "PatchedPretransform", "patch_size": size}


def _config(widths: tuple[int, ...], after: tuple[int, ...], heads: tuple[int, ...], layers: tuple[int, ...]) -> Any:
    """Encoder and decoder that mirror each other; `after` are the channels behind each stage of the encoder."""
    before = (240, *(2 * channels for channels in after[:-1]))
    rows = list(zip(before, widths, after, heads, layers, strict=True))
    encoder, decoder = [_patch(240)], []
    for number, (into, width, out, head, count) in enumerate(rows):
        encoder += [*([_patch(2)] if number else []), _stage(into, width, out, head, count)]
    for number, (into, width, out, head, count) in enumerate(rows[::-1]):
        decoder += [_stage(out, width, into, head, count), _patch(2 if number < len(rows) - 1 else 240)]
    return {"encoder_kwargs": encoder, "decoder_kwargs": decoder}


def config(published: bool = False, layers: int = 0) -> dict[str, Any]:
    """`config.json` of the release, of `layers` a stage if that is not 0; or of a narrower model."""
    quantizer = {"codebook_dim": 8, "codebook_size": 1024, "num_quantizers": 32, "quantizer_type": "rlfq"}
    if published:
        count = (layers,) * 4 if layers else (12, 12, 12, 32)
        sides = _config((768, 768, 768, 1280), (384, 384, 640, 768), (12, 12, 12, 20), count)
        quantizer |= {"input_dim": 768, "output_dim": 768, "rvq_dim": 512}
    else:
        sides = _config((24, 24, 32, 32), (12, 16, 16, 20), (2, 2, 4, 4), (1, 1, 1, 2))
        quantizer |= {"input_dim": 20, "output_dim": 20, "rvq_dim": 16}
    return sides | {
        "model_type": "speech_tokenizer", "sampling_rate": 24_000, "downsample_rate": 1920,
        "causal_transformer_context_duration": 10, "quantizer_type": "rlfq", "quantizer_kwargs": quantizer,
    }  # fmt: skip


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

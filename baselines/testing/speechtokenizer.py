"""A SpeechTokenizer with seeded weights, in the form of the released files."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..speechtokenizer import CONFIG, FOLDER, PUBLISHED, TENSORS
from ..speechtokenizer_model import Shape, SpeechTokenizer
from . import fill, normed, seeded

NARROW = PUBLISHED | {"n_filters": 2, "dimension": 16, "semantic_dimension": 12}


def state(config: dict[str, Any]) -> dict[str, Tensor]:
    """Seeded tensors of the model that `config` describes, under their released names."""
    shape = Shape.of(config)
    model = SpeechTokenizer(shape)
    fill(model, 1.4)
    tensors: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        public = name.replace("coder.", "coder.model.", 1)
        if isinstance(module, nn.LSTM):
            tensors |= {f"{public}.{key}": tensor for key, tensor in module.state_dict().items()}
        elif isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            public += ".convtr.convtr." if isinstance(module, nn.ConvTranspose1d) else ".conv.conv."
            tensors |= normed(f"{public}weight", module.weight.detach())
            assert module.bias is not None
            tensors[f"{public}bias"] = module.bias.detach()
    spread = 2.0
    for number in range(shape.quantizers):
        stem = f"quantizer.vq.layers.{number}._codebook."
        book = spread * seeded(f"{stem}embed", (shape.codebook, shape.dimension), 0)
        tensors |= {f"{stem}embed": book, f"{stem}embed_avg": book, f"{stem}inited": torch.ones(1)}
        tensors[f"{stem}cluster_size"] = torch.ones(shape.codebook)
        spread *= 0.7
    size = (config["semantic_dimension"], config["dimension"])
    return tensors | {"transform.weight": seeded("transform", size, 0), "transform.bias": torch.zeros(size[0])}


def save(config: dict[str, Any], folder: Path) -> Path:
    """The released files, in the folder that the release has; `folder` again."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    (folder / FOLDER / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    torch.save(state(config), folder / FOLDER / TENSORS)
    return folder


def write(folder: Path, rate: str) -> None:
    """A narrow model as it was released: one for all rates."""
    save(NARROW, folder)

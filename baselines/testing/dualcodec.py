"""A DualCodec with seeded weights, in the form of the released files, and a narrow w2v-BERT below it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from evalkit.environment.extras import load_transformers

from ..dualcodec import SPEECH, STATISTICS, TENSORS, VARIANTS
from ..dualcodec_model import PUBLISHED, DualCodec, Shape
from . import fill, normed, seeded

NARROW_SPEECH = {
    "hidden_size": 32, "num_hidden_layers": 18, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_depthwise_kernel_size": 5,
}  # fmt: skip


def shape(model: str, published: bool = False) -> Shape:
    """The shape of the released `model`, or of a narrower one."""
    found = PUBLISHED[model]
    return found if published else replace(found, speech=32, filters=2, latents=24, initial=64, width=16)


def state(about: Shape) -> dict[str, Tensor]:
    """Seeded tensors of a model of the shape `about`, under their released names."""
    model = DualCodec(about)
    fill(model)
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        public = name.replace("dac.encoder.", "dac.encoder.block.").replace("dac.decoder.", "dac.decoder.model.")
        if tensor.dim() != 3 or "alpha" in name or "dwconv" in name:
            tensors[public] = tensor
        else:
            tensors |= normed(public, (0.6 if "dac.decoder" in name else 1.5) * tensor)
    return tensors


def speech_model(published: bool = False) -> Any:
    """A Wav2Vec2BertModel with seeded weights."""
    transformers = load_transformers()
    model = transformers.Wav2Vec2BertModel(transformers.Wav2Vec2BertConfig(**{} if published else NARROW_SPEECH)).eval()
    fill(model)
    return model


def save(about: Shape, model: str, folder: Path) -> Path:
    """The two files of the release; `folder` again."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state(about).items()}, folder / TENSORS[model])
    spread = seeded("variance", (about.speech,), 0).square() + 0.5
    torch.save({"mean": 0.1 * seeded("mean", (about.speech,), 0), "var": spread}, folder / STATISTICS)
    return folder


def write(folder: Path, rate: str) -> None:
    """A narrow model as it was released, and the speech model below it."""
    model = VARIANTS[rate][0]
    with torch.no_grad():
        save(shape(model), model, folder)
    speech_model().save_pretrained(folder / SPEECH)

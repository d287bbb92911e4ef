"""A narrow Qwen3-TTS-Tokenizer-12Hz with seeded weights, in the form of the release."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from evalkit.environment.extras import load_transformers

from ..qwen3_tts import PUBLISHED
from ..qwen3_tts_model import Decoder, Shape
from . import fill, mimi, seeded

NARROW = PUBLISHED | {
    "codebook_dim": 16, "latent_dim": 24, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "decoder_dim": 32,
}  # fmt: skip


def config(published: bool = False) -> dict[str, Any]:
    """`config.json` of the release, or of a narrower model with the same rates and codebooks."""
    return {
        "model_type": "qwen3_tts_tokenizer_12hz", "input_sample_rate": 24_000, "output_sample_rate": 24_000,
        "encode_downsample_rate": 1920, "decode_upsample_rate": 1920, "encoder_valid_num_quantizers": 16,
        "encoder_config": {} if published else mimi.NARROW,
        "decoder_config": PUBLISHED if published else NARROW,
    }  # fmt: skip


def state(about: dict[str, Any]) -> dict[str, Tensor]:
    """Seeded tensors of the model that `about` describes, under their released names."""
    transformers = load_transformers()
    encoder = transformers.MimiModel(transformers.MimiConfig(**about["encoder_config"]))
    decoder = Decoder(Shape.of(about["decoder_config"]))
    fill(mimi_tensors := dict(released(encoder.state_dict())))  # by released names, whatever transformers calls them
    fill(decoder, 0.6)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if name.endswith(("alpha", "beta")):
                parameter.log_()  # they are exponents here
        for layer in (decoder.first, decoder.rest):
            layer.weight *= 100
        last: Any = decoder.decoder[-1]
        last.conv.weight *= 0.5
        for name, parameter in encoder.named_parameters():
            if "input_proj" in name:
                parameter *= 10
    tensors = {f"encoder.{name}": tensor for name, tensor in mimi_tensors.items()}
    for name, tensor in decoder.state_dict().items():
        if name == "books":
            for number, book in enumerate(tensor):
                kind, place = ("rest", number - 1) if number else ("first", 0)
                stem = f"decoder.quantizer.rvq_{kind}.vq.layers.{place}._codebook."
                usage = 1 + seeded(f"{stem}usage", (len(book),), 0).abs()
                tensors |= {f"{stem}embedding_sum": book * usage[:, None], f"{stem}cluster_usage": usage}
        elif name.startswith(("first.", "rest.")):
            stem = f"decoder.quantizer.rvq_{name.partition('.')[0]}."
            tensors |= {f"{stem}output_proj.weight": tensor, f"{stem}input_proj.weight": tensor.transpose(0, 1).clone()}
        else:
            tensors[f"decoder.{name}"] = tensor
    return tensors


def released(tensors: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The encoder's tensors under the names that transformers 4.57 has for them, without Mimi's own decoder."""
    for name, tensor in tensors.items():
        if not name.startswith(("decoder", "upsample")):
            for part in ("encoder_transformer.", "downsample."):
                name = name.replace(f"encoder.{part}", part)
            yield name.replace("encoder.encoder_seanet.", "encoder."), tensor


def save(about: dict[str, Any], folder: Path) -> Path:
    """`config.json` and `model.safetensors`; `folder` again."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in state(about).items()}, folder / "model.safetensors")
    return folder


def write(folder: Path, rate: str) -> None:
    """A narrow model as it was released."""
    save(config(), folder)

"""A narrow XcodecModel with seeded weights, as transformers saves one."""

from pathlib import Path
from typing import Any

import torch

from evalkit.environment.extras import load_transformers

from . import fill

ACOUSTIC = {"model_type": "dac", "encoder_hidden_size": 4, "decoder_hidden_size": 64, "hidden_size": 16}
SPEECH = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def model(speech_model: str = "hubert") -> Any:
    """The model: strides and codebooks as released."""
    transformers = load_transformers()
    config = transformers.XcodecConfig(
        acoustic_model_config=ACOUSTIC, semantic_model_config=SPEECH | {"model_type": speech_model}
    )
    made = transformers.XcodecModel(config).eval()
    settle(made)
    return made


def settle(model: Any) -> None:
    """Seeded weights, such that the tokens of speech vary and audio is within full scale."""
    fill(model)
    with torch.no_grad():
        model.fc.weight *= 8
        for tensor in model.acoustic_decoder.conv2.parameters():
            tensor *= 0.002


def write(folder: Path, rate: str) -> None:
    """`config.json` and `model.safetensors` of the model that `rate` names."""
    model("wavlm" if "wavlm" in rate else "hubert").save_pretrained(folder)

"""A narrow EncodecModel with random weights, as transformers saves one."""

from pathlib import Path
from typing import Any

import torch

from evalkit.environment.extras import load_transformers
from evalkit.testing import speech


def model() -> Any:
    """The model, with entries in its codebooks, which are zeros in a fresh one, as the latents of speech are spread."""
    transformers = load_transformers()

    torch.manual_seed(0)
    model = transformers.EncodecModel(transformers.EncodecConfig(num_filters=2, hidden_size=16, codebook_dim=16)).eval()
    with torch.no_grad():
        latents = model.encoder(torch.from_numpy(speech(1.0, 24_000))[None, None])[0]
        mean, spread = latents.mean(1), latents.std(1)
        for layer in model.quantizer.layers:
            layer.codebook.embed.copy_(mean + spread * torch.randn(1024, len(mean)))
            mean = torch.zeros_like(mean)  # later ones code what is left
    return model


def write(folder: Path, rate: str) -> None:
    """`config.json` and `model.safetensors`: one model for all rates."""
    model().save_pretrained(folder)

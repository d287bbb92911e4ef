"""The recipe's spectral losses beside upstream's (`make oracle-training`)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nanocodec.testing import seeded_audio
from nanocodec.training.paper_losses import mel_loss, stft_loss

RATE, SAMPLES = 22_050, 3 * 1764
GOLDEN = Path(__file__).parents[1] / "golden" / "upstream-training.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Real and generated audio, [2, T] each."""
    real, generated = (torch.stack([seeded_audio(SAMPLES, seed=seed) for seed in seeds]) for seeds in ((0, 1), (2, 3)))
    return real, generated


def spaced(tensor: Tensor, count: int = 48) -> np.ndarray:
    flat = tensor.detach().flatten()
    return flat[torch.linspace(0, len(flat) - 1, count).round().long()].numpy()


@pytest.mark.parametrize("name", ["mel", "stft"])
def test_reconstruction_losses_are_upstreams(
    name: str, pair: tuple[Tensor, Tensor], golden: dict[str, np.ndarray]
) -> None:
    real, generated = pair[0], pair[1].clone().requires_grad_()
    loss = mel_loss(generated, real, RATE) if name == "mel" else stft_loss(generated, real)
    (gradient,) = torch.autograd.grad(loss, generated)
    assert float(loss.detach()) == pytest.approx(float(golden[f"loss.{name}"]), abs=1e-5)
    expected = golden[f"loss.{name}.gradient"]
    assert np.abs(spaced(gradient) - expected).max() <= 1e-5 * expected.std()

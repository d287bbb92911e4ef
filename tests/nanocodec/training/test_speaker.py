"""The speaker-consistency loss: upstream's encoder (`make oracle-training`), its public format, what training needs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from nanocodec.errors import CheckpointError, MismatchError, MissingWeightsError
from nanocodec.testing import seeded_audio, seeded_state
from nanocodec.training.speaker import RATE, SpeakerConsistencyLoss, SpeakerEncoder

GOLDEN = Path(__file__).parents[1] / "golden" / "upstream-training.npz"
SAMPLES = 8000


def narrow() -> SpeakerEncoder:
    return SpeakerEncoder(blocks=(1, 2, 1, 1), channels=(8, 8, 16, 16), size=12)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return {key.removeprefix("speaker."): stored[key] for key in stored.files if key.startswith("speaker.")}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file in the public checkpoint's format: upstream's buffers and a trainer's leftovers beside the weights."""
    state = seeded_state(narrow().state_dict())
    path = tmp_path / "pytorch_model.bin"
    torch.save({"model": state | {"torch_spec.0.filter": torch.zeros(1, 1, 2)}, "step": 7, "optimizer": {}}, path)
    return path


@pytest.fixture
def encoder(checkpoint: Path) -> SpeakerEncoder:
    return narrow().load(checkpoint)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Real and decoded audio, [2, T] each."""
    real, decoded = (torch.stack([seeded_audio(SAMPLES, seed=seed) for seed in seeds]) for seeds in ((0, 1), (2, 3)))
    return real, decoded


def spaced(tensor: Tensor, count: int = 48) -> np.ndarray:
    flat = tensor.detach().flatten()
    return flat[torch.linspace(0, len(flat) - 1, count).round().long()].numpy()


def test_embeddings_loss_and_gradient_are_upstreams(
    encoder: SpeakerEncoder, pair: tuple[Tensor, Tensor], golden: dict[str, np.ndarray]
) -> None:
    real, decoded = pair[0], pair[1].clone().requires_grad_()
    loss = SpeakerConsistencyLoss(encoder, RATE, alpha=1.0)(decoded, real)
    (gradient,) = torch.autograd.grad(loss, decoded)
    assert float(loss.detach()) == pytest.approx(float(golden["loss"]), abs=1e-5)
    assert np.abs(encoder(torch.cat(pair)).detach().numpy() - golden["embeddings"]).max() <= 1e-5
    assert np.abs(spaced(gradient) - golden["gradient"]).max() <= 3e-4 * golden["gradient"].std()


@pytest.mark.parametrize(
    "name",
    [
        "bn1.running_mean",
        "layer2.1.conv2.weight",
        "layer3.0.downsample.1.running_var",
        "layer4.0.se.fc.2.bias",
        "attention.0.weight",
        "fc.weight",
    ],
)
def test_one_wrong_weight_is_noticed(
    name: str, encoder: SpeakerEncoder, pair: tuple[Tensor, Tensor], golden: dict[str, np.ndarray]
) -> None:
    encoder.eval().state_dict()[name].view(-1)[::3] *= 1.1
    with torch.no_grad():
        assert np.abs(encoder(torch.cat(pair)).numpy() - golden["embeddings"]).max() > 1e-4


def test_the_full_encoder_has_the_public_names_and_shapes(golden: dict[str, np.ndarray]) -> None:
    public = json.loads(golden["shapes"].tobytes())
    own = {name: list(tensor.shape) for name, tensor in SpeakerEncoder().state_dict().items()}
    assert own == {name: shape for name, shape in public.items() if not name.startswith("torch_spec.")}


def test_the_encoder_stays_frozen(encoder: SpeakerEncoder, pair: tuple[Tensor, Tensor]) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    decoded = pair[1].clone().requires_grad_()
    SpeakerConsistencyLoss(encoder, RATE)(decoded, pair[0]).backward()
    assert decoded.grad is not None and decoded.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_the_loss_is_minus_alpha_for_the_same_audio_and_a_mean_over_the_batch(
    encoder: SpeakerEncoder, pair: tuple[Tensor, Tensor]
) -> None:
    loss = SpeakerConsistencyLoss(encoder, RATE)
    real, decoded = pair
    assert float(loss(real, real)) == pytest.approx(-0.1, abs=1e-6)
    halves = [float(loss(decoded[row : row + 1], real[row : row + 1])) for row in (0, 1)]
    assert float(loss(decoded, real)) == pytest.approx(sum(halves) / 2, abs=1e-6)


def test_codec_frames_fit_and_other_lengths_are_refused(encoder: SpeakerEncoder) -> None:
    loss = SpeakerConsistencyLoss(encoder, 22_050)
    audio = torch.stack([seeded_audio(3 * 1764, seed=seed) for seed in (0, 1)])
    assert float(loss(audio[:1], audio[1:])) > -0.1
    with pytest.raises(ValueError, match="not a whole number of samples"):
        loss(audio[:, :-1], audio[:, :-1])


def test_bfloat16_autocast_stays_near(encoder: SpeakerEncoder, pair: tuple[Tensor, Tensor]) -> None:
    loss = SpeakerConsistencyLoss(encoder, RATE, alpha=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss(pair[1], pair[0])
    assert rounded.dtype == torch.float32
    assert float(rounded) == pytest.approx(float(loss(pair[1], pair[0])), abs=0.01)


def test_wrong_files_are_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"nothing\.bin: no such file; .* `hf download Edresson"):
        SpeakerEncoder().load(tmp_path / "nothing.bin")
    with pytest.raises(MismatchError, match=r"pytorch_model\.bin: does not fit the speaker encoder: .* wrong"):
        SpeakerEncoder().load(checkpoint)
    for content in (b"", b"not a file of torch"):
        checkpoint.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a speaker encoder's checkpoint"):
            SpeakerEncoder().load(checkpoint)
    for value in ([1], {"weights": 1}, {"model": [1]}, {"model": dict.fromkeys(narrow().state_dict(), 1)}):
        torch.save(value, checkpoint)
        with pytest.raises(CheckpointError):
            narrow().load(checkpoint)


def test_a_checkpoint_cannot_run_code(checkpoint: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple:
            return (checkpoint.with_name("ran").touch, ())

    torch.save({"model": Hostile()}, checkpoint)
    with pytest.raises(CheckpointError):
        narrow().load(checkpoint)
    assert not checkpoint.with_name("ran").exists()

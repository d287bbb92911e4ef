"""The loss in loudness: P.862's disturbance by another route. The oracle is the package `pesq`, the ITU's C code."""

from importlib.resources import files

import numpy as np
import pytest
import soundfile
import soxr
import torch
from pesq import pesq
from scipy.signal import butter, sosfilt
from torch import Tensor

from nanocodec.config import get_config
from nanocodec.model import NanoCodec
from nanocodec.training.config import LossWeights, Phase, TrainConfig
from nanocodec.training.loudness import ASYMMETRIC, CAP, RATE, SYMMETRIC, LoudnessLoss, over_time


def speech(name: str) -> np.ndarray:
    """A built-in sentence [T] at 16 kHz, without the silence around it."""
    with (files("evalkit") / "datasets" / "builtin" / f"{name}.flac").open("rb") as file:
        wave, rate = soundfile.read(file, dtype="float32")
    wave = soxr.resample(wave, rate, RATE)
    loud = np.flatnonzero(np.abs(wave) > 0.01 * np.abs(wave).max())
    return np.ascontiguousarray(wave[loud[0] : loud[-1]])


def mos(reference: np.ndarray, decoded: np.ndarray) -> float:
    """P.862.2's score from the loss's disturbances, which P.862 cuts off at 45."""
    pair = (torch.from_numpy(x.astype(np.float32))[None] for x in (decoded, reference))
    parts = [float(over_time(x.clamp(max=CAP))) for x in LoudnessLoss(RATE).disturbances(*pair)]
    return 0.999 + 4 / (1 + np.exp(-1.3669 * (4.5 - SYMMETRIC * parts[0] - ASYMMETRIC * parts[1]) + 3.8224))


def test_its_disturbance_is_that_of_pesq() -> None:
    generator = np.random.default_rng(0)
    codec = NanoCodec.builtin()
    ours, theirs = [], []
    for name in ("en-01", "de-02", "en-02"):
        wave = speech(name)
        wide = torch.from_numpy(soxr.resample(wave, RATE, codec.sample_rate))[None]
        with torch.inference_mode():
            decoded = codec.decode(codec.encode(wide)[0])[0, : wide.shape[1]].numpy()
        decoded = soxr.resample(decoded, codec.sample_rate, RATE)[: len(wave)]
        for degraded in (
            decoded,
            0.7 * wave + 0.3 * decoded,
            wave + generator.normal(0, 0.01, len(wave)),
            wave + generator.normal(0, 0.002, len(wave)),
            sosfilt(butter(4, 3400, fs=RATE, output="sos"), wave),
        ):
            ours.append(mos(wave, degraded))
            theirs.append(pesq(RATE, wave, degraded.astype(np.float32), "wb"))
    assert min(theirs) < 1.6
    assert max(theirs) > 4
    assert np.corrcoef(ours, theirs)[0, 1] > 0.999
    np.testing.assert_allclose(ours, theirs, atol=0.2)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    """Noisy and clean speech [1, T] at 22.05 kHz."""
    clean = torch.from_numpy(soxr.resample(speech("en-01"), RATE, 22050))[None]
    return clean + 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)), clean


def test_neither_rate_nor_level_matters(pair: tuple[Tensor, Tensor]) -> None:
    noisy, clean = pair
    loss = LoudnessLoss(22050)(noisy, clean)
    narrow = [torch.from_numpy(soxr.resample(x[0].numpy(), 22050, RATE))[None] for x in pair]
    assert float(LoudnessLoss(RATE)(*narrow)) == pytest.approx(float(loss), rel=0.02)
    assert float(LoudnessLoss(22050)(0.5 * noisy, 2 * clean)) == pytest.approx(float(loss), rel=1e-3)
    assert float(LoudnessLoss(22050)(clean, clean)) < 0.01


def test_what_is_added_counts_for_more_than_what_is_missing(pair: tuple[Tensor, Tensor]) -> None:
    noisy, clean = pair
    (_, added), (_, missing) = (LoudnessLoss(22050).disturbances(*two) for two in ((noisy, clean), (clean, noisy)))
    assert added.mean() > 5 * missing.mean()


def test_gradients_are_finite_and_lead_down(pair: tuple[Tensor, Tensor]) -> None:
    clean = pair[1][:, :24696].clone()
    clean[:, :9000] = 0  # silence has neither loudness nor a smooth root
    wave = pair[0][:, :24696].clone().requires_grad_()
    loss = LoudnessLoss(22050)
    before = loss(wave, clean)
    before.backward()
    assert wave.grad is not None
    assert wave.grad.isfinite().all()
    after = loss(wave - 1e-3 * wave.grad / wave.grad.square().mean().sqrt(), clean)
    assert after.item() < before.item() - 0.01
    silent = torch.zeros_like(clean, requires_grad=True)
    loss(silent, torch.zeros_like(clean)).backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_a_configuration_that_it_cannot_hear_is_refused() -> None:
    weights = LossWeights(loudness=0.1)
    codec = get_config("mini-1.1k")
    TrainConfig(codec, (Phase(1, 1, 5),), losses=weights).validate()
    with pytest.raises(ValueError, match=r"losses\.loudness needs excerpts of at least 0\.336 s"):
        TrainConfig(codec, (Phase(1, 1, 4),), losses=weights).validate()

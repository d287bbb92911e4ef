"""Resampling for networks at another rate, beside scipy's."""

import numpy as np
import pytest
import scipy.signal
import torch

from nanocodec.training.frozen import resample_fft


@pytest.mark.parametrize(
    ("old", "new", "samples"),
    [(22_050, 16_000, 1764), (22_050, 16_000, 441), (16_000, 22_050, 1280), (48_000, 16_000, 33), (16_000, 48_000, 33)],
)
def test_resampling_is_scipys(old: int, new: int, samples: int) -> None:
    audio = torch.from_numpy(np.random.RandomState(0).standard_normal((2, samples)))
    resampled = resample_fft(audio, old, new)
    expected = scipy.signal.resample(audio.numpy(), samples * new // old, axis=1)
    assert np.abs(resampled.numpy() - expected).max() <= 2e-6


def test_resampling_keeps_a_tone_and_refuses_parts_of_samples() -> None:
    seconds = torch.arange(1764, dtype=torch.float64) / 22_050
    tone = torch.sin(2 * torch.pi * 1000 * seconds)  # 80 whole periods
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(1280, dtype=torch.float64) / 16_000)
    assert (resample_fft(tone, 22_050, 16_000) - expected).abs().max() <= 1e-5
    with pytest.raises(ValueError, match="1765 samples at 22050 Hz are not a whole number of samples at 16000 Hz"):
        resample_fft(torch.zeros(1765), 22_050, 16_000)

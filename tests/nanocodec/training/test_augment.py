"""Augmentation."""

import numpy as np
import pytest

from nanocodec.training.augment import equalize, reverberate


def test_augmentation_changes_colour_but_neither_level_nor_timing() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(22050) * np.hanning(22050) * 0.1
    tilted, wet = equalize(audio, 22050, 9.0, rng), reverberate(audio, 22050, rng)
    for changed in (tilted, wet):
        assert changed.shape == audio.shape
        lag = np.correlate(changed[8000:14000], audio[8000:14000], "full").argmax() - 5999
        assert lag == 0
    assert np.square(wet).sum() == pytest.approx(np.square(audio).sum())
    gain = 20 * np.log10(np.abs(np.fft.rfft(tilted)[10:-10]) / np.abs(np.fft.rfft(audio)[10:-10]))
    assert 1 < np.abs(gain).max() <= 9.0

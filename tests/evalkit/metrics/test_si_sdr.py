"""SI-SDR against torchmetrics, and its properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import Pair
from evalkit.metrics.si_sdr import SI_SDR

seeds = st.integers(0, 2**32 - 1)


def random_pair(seed: int, noise: float = 0.3) -> Pair:
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal(800).astype(np.float32)
    return Pair(reference, (reference + noise * rng.standard_normal(800)).astype(np.float32))


@given(seeds, st.floats(1e-3, 100), st.floats(-1, 1))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_equals_torchmetrics(seed, noise, offset):
    pair = random_pair(seed, noise)
    pair = Pair(pair.reference, (pair.decoded + offset).astype(np.float32))
    expected = scale_invariant_signal_distortion_ratio(
        torch.from_numpy(pair.decoded).double(), torch.from_numpy(pair.reference).double(), zero_mean=True
    )
    assert SI_SDR.score(pair) == pytest.approx(float(expected), abs=1e-6)


@given(seeds, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.booleans())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_gain_and_inversion_change_nothing(seed, first, second, inverted):
    pair = random_pair(seed)
    scaled = Pair(np.float32(first) * pair.reference, np.float32(-second if inverted else second) * pair.decoded)
    assert SI_SDR.score(scaled) == pytest.approx(SI_SDR.score(pair), abs=1e-4)


def test_polarity_that_turns_within_the_utterance_is_punished(speech):
    """The reason why it does not measure the quality of codecs that are free in their phase."""
    clean = speech()
    turned = clean * np.sign(np.sin(np.arange(len(clean)) / 2000)).astype(np.float32)
    assert SI_SDR.score(Pair(clean, -clean)) == 100
    assert SI_SDR.score(Pair(clean, turned)) < 0


@given(seeds)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_identity_is_the_upper_limit(seed):
    pair = random_pair(seed)
    assert SI_SDR.score(Pair(pair.reference, pair.reference)) == SI_SDR.high == 100


def test_orthogonal_signals_are_the_lower_limit():
    time = np.arange(16000)
    pair = Pair((time % 2 - 0.5).astype(np.float32), (time // 2 % 2 - 0.5).astype(np.float32))
    assert SI_SDR.score(pair) == SI_SDR.low == -100


def test_more_noise_is_worse(speech, noisy):
    clean = speech()
    values = [SI_SDR.score(Pair(clean, noisy(clean, snr))) for snr in (40, 30, 20, 10, 0)]
    assert values == pytest.approx([40, 30, 20, 10, 0], abs=0.2)


def test_full_scale_square_is_defined():
    square = np.sign(np.sin(np.arange(16000) / 20)).astype(np.float32)
    assert SI_SDR.score(Pair(square, 0.5 * square)) == 100


WAVE = np.sin(np.arange(200)).astype(np.float32)
ZERO = np.zeros(200, np.float32)


@pytest.mark.parametrize(
    ("reference", "decoded", "reason"),
    [
        (ZERO, WAVE, "the reference is digital silence"),
        (WAVE, ZERO, "the decoded audio is digital silence"),
        (WAVE, ZERO + np.float32(0.3), r"the decoded audio is a constant \(DC only\)"),
        (ZERO + np.float32(0.3), WAVE, r"the reference is a constant \(DC only\)"),
        (WAVE[1:3], WAVE[5:7], r"shorter than 0.01 s \(2 samples\)"),
        (WAVE[:0], WAVE[:0], "no samples"),
    ],
)
def test_undefined(reference, decoded, reason):
    with pytest.raises(UndefinedScore, match=reason):
        SI_SDR.score(Pair(reference, decoded))


def test_different_lengths_are_the_callers_mistake():
    with pytest.raises(ValueError, match="differ in length: 200 and 99"):
        SI_SDR.score(Pair(WAVE, WAVE[:99]))

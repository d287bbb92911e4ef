"""STOI and ESTOI against direct calls of pystoi, and where they are undefined."""

import warnings

import numpy as np
import pystoi
import pytest

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import Pair
from evalkit.metrics.stoi import ESTOI, MIN_SAMPLES, STOI

BOTH = pytest.mark.parametrize("metric", [STOI, ESTOI], ids=lambda m: m.name)


@BOTH
@pytest.mark.parametrize("snr", [-5, 10, 30])
def test_equals_pystoi(metric, snr, speech, noisy):
    clean = speech()
    degraded = noisy(clean, snr)
    expected = pystoi.stoi(clean, degraded, 16000, extended=metric.extended)
    assert metric.score(Pair(clean, degraded)) == pytest.approx(expected, abs=1e-6)


@BOTH
def test_identity_is_one(metric, speech):
    clean = speech()
    assert metric.score(Pair(clean, clean)) == pytest.approx(1, abs=1e-6)


@BOTH
def test_a_gain_changes_nothing(metric, pair):
    assert metric.score(Pair(pair.reference, 0.1 * pair.decoded)) == pytest.approx(metric.score(pair), abs=1e-5)


@BOTH
def test_more_noise_is_worse(metric, speech, noisy):
    clean = speech()
    values = [metric.score(Pair(clean, noisy(clean, snr))) for snr in (40, 20, 10, 0, -10)]
    assert values == sorted(values, reverse=True)
    assert metric.low <= values[-1] < values[0] <= metric.high


@BOTH
def test_repeats_exactly_even_where_the_decoded_audio_goes_silent(metric, pair):
    """pystoi's own noise decides ESTOI there: the seed is what makes it repeat."""
    decoded = pair.decoded.copy()
    decoded[8000:20000] = 0
    first = metric.score(Pair(pair.reference, decoded))
    np.random.standard_normal(7)
    assert metric.score(Pair(pair.reference, decoded)) == first


def test_numpys_random_state_stays_as_it_was(pair):
    np.random.seed(42)
    expected = np.random.standard_normal(3)
    np.random.seed(42)
    ESTOI.score(pair)
    np.testing.assert_array_equal(np.random.standard_normal(3), expected)


@BOTH
def test_full_scale_square_is_defined(metric):
    square = np.sign(np.sin(np.arange(16000) / 20)).astype(np.float32)
    assert metric.score(Pair(square, 0.5 * square)) == pytest.approx(1, abs=1e-6)


@BOTH
@pytest.mark.parametrize("samples", [0, 1, 300, MIN_SAMPLES - 1])
def test_too_short_is_undefined(metric, samples, pair):
    with pytest.raises(UndefinedScore, match="fewer than 30 frames"):
        metric.score(Pair(pair.reference[:samples], pair.decoded[:samples]))


def test_the_shortest_defined_pair(speech):
    noise = np.random.default_rng(0).standard_normal(MIN_SAMPLES).astype(np.float32)
    assert STOI.score(Pair(noise, noise)) == pytest.approx(1, abs=1e-6)
    with pytest.warns(RuntimeWarning, match="Not enough STFT frames"):
        assert pystoi.stoi(noise[:-1], noise[:-1], 16000) == 1e-5


@BOTH
def test_too_little_speech_is_undefined_and_quiet(metric):
    click = np.full(32000, 1e-6, np.float32)
    click[16000:16200] = np.sin(np.arange(200))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UndefinedScore, match="louder than silence"):
            metric.score(Pair(click, click))


@BOTH
@pytest.mark.parametrize(("level", "word"), [(0, "digital silence"), (0.3, "a constant")])
def test_silence_and_dc_are_undefined(metric, level, word, pair):
    flat = np.full_like(pair.reference, level)
    with pytest.raises(UndefinedScore, match=f"the reference is {word}"):
        metric.score(Pair(flat, pair.decoded))
    with pytest.raises(UndefinedScore, match=f"the decoded audio is {word}"):
        metric.score(Pair(pair.reference, flat))

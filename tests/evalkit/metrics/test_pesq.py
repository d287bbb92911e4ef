"""PESQ against direct calls of the `pesq` package, and where it is undefined.

The package's own test value (1.0832 for its speech.wav with babble noise) needs its audio, which is not here; the
score of a perfect copy follows from P.862.2's mapping instead.
"""

import math

import numpy as np
import pesq
import pytest

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import Pair
from evalkit.metrics.pesq import FAILURES, PESQ_WB


@pytest.mark.parametrize("snr", [0, 20])
def test_equals_the_package(snr, speech, noisy):
    clean = speech()
    degraded = noisy(clean, snr)
    assert PESQ_WB.score(Pair(clean, degraded)) == pytest.approx(pesq.pesq(16000, clean, degraded, "wb"), abs=1e-6)


def test_a_perfect_copy_has_the_highest_raw_score_mapped(speech):
    mapped = 0.999 + 4 / (1 + math.exp(3.8224 - 1.3669 * 4.5))
    clean = speech()
    assert PESQ_WB.score(Pair(clean, clean)) == pytest.approx(mapped, abs=1e-4)
    assert mapped < PESQ_WB.high


def test_more_noise_is_worse(speech, noisy):
    clean = speech()
    values = [PESQ_WB.score(Pair(clean, noisy(clean, snr))) for snr in (50, 30, 20, 10)]
    assert values == sorted(values, reverse=True)
    assert PESQ_WB.low <= values[-1] < values[0] <= PESQ_WB.high


def test_a_common_gain_changes_nothing_and_it_repeats(pair):
    first = PESQ_WB.score(pair)
    assert PESQ_WB.score(pair) == first
    assert PESQ_WB.score(Pair(0.125 * pair.reference, 0.125 * pair.decoded)) == pytest.approx(first, abs=1e-6)


def test_full_scale_square_is_defined():
    square = np.sign(np.sin(np.arange(16000) / 20)).astype(np.float32)
    assert PESQ_WB.low <= PESQ_WB.score(Pair(square, 0.5 * square)) <= PESQ_WB.high


@pytest.mark.parametrize("samples", [0, 1, 1600, 3999])
def test_below_a_quarter_of_a_second_is_undefined(samples, pair):
    with pytest.raises(UndefinedScore, match=r"too short for PESQ"):
        PESQ_WB.score(Pair(pair.reference[:samples], pair.decoded[:samples]))


@pytest.mark.parametrize(("level", "word"), [(0, "digital silence"), (0.3, "a constant")])
def test_silence_and_dc_are_undefined(level, word, pair):
    flat = np.full_like(pair.reference, level)
    with pytest.raises(UndefinedScore, match=f"the reference is {word}"):
        PESQ_WB.score(Pair(flat, pair.decoded))
    with pytest.raises(UndefinedScore, match=f"the decoded audio is {word}"):
        PESQ_WB.score(Pair(pair.reference, flat))


def test_decoded_audio_that_is_all_but_silent_is_undefined(pair):
    """One denormal sample: not silence, and yet the package returns NaN."""
    decoded = np.zeros_like(pair.decoded)
    decoded[-1] = 1e-30
    with pytest.raises(UndefinedScore, match="not a number"):
        PESQ_WB.score(Pair(pair.reference, decoded))


@pytest.mark.parametrize("code", [*sorted(FAILURES), -99])
def test_no_failure_of_the_package_becomes_a_number(code, pair, monkeypatch):
    monkeypatch.setattr(pesq, "pesq", lambda *args, **kwargs: code)
    with pytest.raises(UndefinedScore, match=FAILURES.get(code, "code -99")):
        PESQ_WB.score(pair)


def test_failures_are_named_as_the_package_names_them():
    for reason in FAILURES.values():
        name = reason.split(":")[0]
        assert name == "Unknown" or hasattr(pesq, name)
    codes = {v for k, v in vars(pesq.PesqError).items() if isinstance(v, int) and v < 0}
    assert codes == set(FAILURES)

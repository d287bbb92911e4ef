"""Delta rate, beside an independent implementation, the package `bjontegaard`, on published curves and random ones."""

import bjontegaard
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evalkit.errors import UndefinedScore
from evalkit.stats.bjontegaard import bd_rate, bd_rate_interval

# Of the example in the README of github.com/FAU-LMS/bjontegaard: rates in kbit/s and PSNR of two video codecs.
ANCHOR = (np.array([9487.76, 4593.60, 2486.44, 1358.24]), np.array([40.037, 38.615, 36.845, 34.851]))
TEST = (np.array([9787.80, 4469.00, 2451.52, 1356.24]), np.array([40.121, 38.651, 36.970, 34.987]))


def theirs(anchor: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    return float(bjontegaard.bd_rate(*anchor, *test, method="pchip", require_matching_points=False, min_overlap=0))


def test_the_example_has_the_published_value() -> None:
    assert bd_rate(ANCHOR, TEST) == pytest.approx(theirs(ANCHOR, TEST), abs=1e-6)


@given(seed=st.integers(0, 10_000))
def test_random_curves_have_the_value_of_another_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    curves = []
    for count in (4, 6):
        rates = np.sort(rng.uniform(0.5, 20, count))
        assume(np.diff(rates).min() > 0.01)
        curves.append((rates, np.cumsum(rng.uniform(0.05, 1, count)) + rng.uniform(0, 1)))
    low, high = max(q[0] for _, q in curves), min(q[-1] for _, q in curves)
    assume(high > low + 0.05)
    assert bd_rate(curves[0], curves[1]) == pytest.approx(theirs(curves[0], curves[1]), rel=1e-6, abs=1e-6)


def test_the_same_curve_at_twice_the_rate_costs_100_percent() -> None:
    rates, quality = ANCHOR
    assert bd_rate(ANCHOR, (2 * rates, quality)) == pytest.approx(100) and bd_rate(ANCHOR, ANCHOR) == 0


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ((ANCHOR[0], ANCHOR[1] + 50), "quality ranges do not overlap"),
        ((ANCHOR[0], ANCHOR[1][::-1]), "does not rise"),
        ((ANCHOR[0][:1], ANCHOR[1][:1]), "two or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(test: tuple[np.ndarray, np.ndarray], reason: str) -> None:
    with pytest.raises(UndefinedScore, match=reason):
        bd_rate(ANCHOR, test)


@pytest.mark.slow
def test_the_interval_covers_the_truth() -> None:
    """Families whose true delta rate is 100 %: 36 of 40 intervals of 90 % or more hold it."""
    rates, curve = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.0, 2.0, 3.0, 4.0])
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        speaker = rng.standard_normal((30, 1))
        first, second = (curve + speaker + 0.3 * rng.standard_normal((30, 4)) for _ in range(2))
        _, low, high = bd_rate_interval((rates, 2 * rates), (first, second), level=0.95, resamples=200, seed=seed)
        held += low <= 100 <= high
    assert held >= 34

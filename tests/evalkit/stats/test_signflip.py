"""The sign-flip test against scipy's permutation test, and against what a p-value must be."""

import numpy as np
import pytest
import scipy.stats

from evalkit.stats import resamples_for, units_needed
from evalkit.stats.signflip import ENOUGH, sign_flip_p


def normal(n: int, m: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, m)) + shift


def by_scipy(column: np.ndarray, two_sided: bool) -> float:
    """All patterns of signs."""
    return float(
        scipy.stats.permutation_test(
            (column,), lambda x, axis: np.sum(x, axis), permutation_type="samples", vectorized=True,
            n_resamples=np.inf, alternative="two-sided" if two_sided else "greater",
        ).pvalue
    )  # fmt: skip


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize("n", [6, 9, 12])
def test_few_units_have_scipys_exact_p(n: int, two_sided: bool) -> None:
    plain = normal(n, 6, 0.4)
    for values in (plain, np.round(2 * plain) / 2):  # rounded: zeros, and many patterns with the same sum
        found = sign_flip_p(values, two_sided)
        assert found == pytest.approx([by_scipy(column, two_sided) for column in values.T], abs=1e-12)


@pytest.mark.parametrize("two_sided", [True, False])
def test_drawn_patterns_come_close_to_all_of_them(two_sided: bool) -> None:
    values = np.concatenate([normal(16, 20, 0.3), np.round(normal(16, 20, 0.4, 1) * 2) / 2], 1)
    every = sign_flip_p(values, two_sided, 2**16)
    drawn = sign_flip_p(values, two_sided, 30_000)
    assert np.any(every < 0.02) and np.any(every > 0.3)
    assert drawn == pytest.approx(every, abs=0.02) and np.all(np.abs(np.log(drawn / every)) < 0.35)


def test_drawing_stops_where_more_would_say_nothing() -> None:
    """Besag and Clifford: the p is ENOUGH over the draws that it took."""
    (p,) = sign_flip_p(normal(40, 1), True, 10**7)
    draws = ENOUGH / p
    assert draws == pytest.approx(round(draws)) and draws < 10**5


def test_where_nothing_is_drawn_the_p_is_no_smaller_than_the_exact_one() -> None:
    values = normal(16, 200, 1.2)
    every = sign_flip_p(values, True, 2**16)
    bound = 2 * np.exp(-(values.sum(0) ** 2) / 2 / (values**2).sum(0))
    few = 1 / (bound.min() * 1.5)  # resamples, so few that the bound decides for some columns
    found = sign_flip_p(values, True, int(few))
    decided = bound < 1 / (int(few) + 1)
    assert np.any(decided) and np.all(found[decided] >= every[decided])
    assert np.all(found[~decided] >= 1 / (int(few) + 1)), "no p-value is zero"


def test_p_values_of_ties_are_uniform_or_larger() -> None:
    for values in (normal(20, 4000), np.round(normal(20, 4000) * 2) / 2, normal(7, 4000)):
        for two_sided in (True, False):
            p = sign_flip_p(values, two_sided)
            for level in (0.01, 0.05, 0.2, 0.5):
                assert np.mean(p <= level) < level + 3 * np.sqrt(level * (1 - level) / 4000)


def test_units_without_a_value_change_nothing_and_blocks_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.concatenate([normal(30, 3, 0.3), np.zeros((4, 3))])
    p = sign_flip_p(values, True)
    monkeypatch.setattr("evalkit.stats.signflip._NUMBERS_AT_ONCE", 777)
    assert sign_flip_p(values, True) == pytest.approx(p, abs=1e-12)
    assert sign_flip_p(values[:, [1]], True) == pytest.approx(p[[1]], abs=1e-12)
    assert not np.array_equal(sign_flip_p(values, True, seed=1), p)
    few = np.concatenate([normal(8, 1, 0.3), np.zeros((90, 1))])
    assert sign_flip_p(few, True) == pytest.approx([by_scipy(few[:8, 0], True)], abs=1e-12)


def test_no_difference_is_no_difference() -> None:
    assert np.array_equal(sign_flip_p(np.zeros((30, 2)), True), [1, 1])
    assert np.array_equal(sign_flip_p(-np.ones((30, 1)), False), [1])


@pytest.mark.parametrize(
    ("comparisons", "two_sided", "needed"), [(1, True, 6), (55, True, 12), (1, False, 6), (8, False, 8)]
)
def test_what_it_takes_for_a_difference_to_be_significant(comparisons: int, two_sided: bool, needed: int) -> None:
    assert units_needed(comparisons, 0.95, two_sided) == needed
    (p,) = sign_flip_p(np.ones((needed, 1)), two_sided)
    assert p * comparisons < 0.05
    if needed > 6:
        (p,) = sign_flip_p(np.ones((needed - 1, 1)), two_sided)
        assert p * comparisons > 0.05


def test_patterns_follow_from_the_correction() -> None:
    assert resamples_for(10, 0.95) == 10_000
    many = resamples_for(605, 0.95)
    (p,) = sign_flip_p(normal(45, 1, 0.72), True, many)
    assert 1 / (many + 1) * 605 < 0.05 and p * 605 < 0.05

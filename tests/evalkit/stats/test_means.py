"""Intervals against scipy, against the published formula, and against known truths by simulation."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.stats import MIN_UNITS, mean_interval
from evalkit.stats.means import Means, Units


def skewed(n: int, seed: int = 0) -> np.ndarray:
    """[n]: skewed as character error rates are."""
    return np.random.default_rng(seed).gamma(1.5, 1.0, n)


@pytest.mark.parametrize("n", [6, 12, 45, 400])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_symmetric_values_have_scipys_t_interval(n: int, level: float) -> None:
    half = np.random.default_rng(n).standard_normal(n // 2)
    values = 3 + np.concatenate([half, -half, [0.0] * (n % 2)])
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(level)
    (ours,) = mean_interval(values[:, None], level=level)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("n", [6, 12, 45])
def test_the_skewed_side_reaches_as_far_as_halls_formula_inverted_numerically(n: int) -> None:
    values = skewed(n)
    g = scipy.stats.skew(values, bias=False) * n / (n - 3) / np.sqrt(n)
    quantile = scipy.stats.t.ppf(0.975, n - 1)
    hall = scipy.optimize.brentq(
        lambda x: x + g / 3 * x**2 + g**2 / 27 * x**3 + g / 6 + quantile, -1000, 1000, xtol=1e-12
    )
    (ours,) = mean_interval(values[:, None])
    t = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    assert g > 0 and hall < -quantile, "the values are skewed to the right"
    assert ours.low == pytest.approx(t.low, abs=1e-9)
    assert ours.high == pytest.approx(values.mean() - hall * scipy.stats.sem(values), rel=1e-9)
    (turned,) = mean_interval(-values[:, None])
    assert (turned.low, turned.high) == pytest.approx((-ours.high, -ours.low), abs=1e-9)


def test_the_skewed_side_agrees_with_scipys_studentised_bootstrap() -> None:
    values = skewed(200)

    def studentised(sample: np.ndarray, axis: int = -1) -> np.ndarray:
        centred = sample.mean(axis=axis) - values.mean()
        return centred / (sample.std(axis=axis, ddof=1) / np.sqrt(sample.shape[axis]))

    drawn = scipy.stats.bootstrap(
        (values,), studentised, n_resamples=20_000, method="percentile", rng=1
    ).bootstrap_distribution
    low, high = values.mean() - np.quantile(drawn, [0.975, 0.025]) * scipy.stats.sem(values)
    (ours,) = mean_interval(values[:, None])
    assert ours.high == pytest.approx(high, abs=0.03 * (high - low))
    assert ours.low <= low, "t's own limit lies farther out on the side without the tail"


def test_p_values_and_intervals_say_the_same() -> None:
    for n, draw in ((7, skewed(7) - 1.0), (20, skewed(20) - 0.8), (20, 1.2 - skewed(20, 4))):
        means = Means.of(Units.of(draw[:, None]))
        (p,) = means.p_different()
        (at_p,) = means.intervals(1 - p)
        assert min(abs(at_p.low), abs(at_p.high)) == pytest.approx(0, abs=1e-6), n
        (p,) = means.p_above(-0.5)
        assert means.limits(p)[0] == pytest.approx([-0.5], abs=1e-6)


def test_clusters_are_jackknifed() -> None:
    """Efron's formulas, a cluster left out at a time."""
    rng = np.random.default_rng(2)
    unit = np.repeat(np.arange(10), 1 + np.arange(10) % 4)
    values = rng.normal(2, 1, len(unit))
    without = np.array([values[unit != u].mean() for u in range(10)])
    pseudo = 10 * values.mean() - 9 * without
    means = Means.of(Units.of(values[:, None], [str(u) for u in unit]))
    assert means.mean == pytest.approx([values.mean()])
    assert means.error == pytest.approx([pseudo.std(ddof=1) / np.sqrt(10)])
    assert means.skew == pytest.approx([scipy.stats.skew(pseudo, bias=False) * 10 / 7 / np.sqrt(10)])
    sizes = np.bincount(unit)
    assert means.freedom == pytest.approx([sizes.sum() ** 2 / (sizes**2).sum() - 1])


@pytest.mark.parametrize("n", [12, 45])
def test_intervals_cover_the_truth_as_often_as_they_say(n: int) -> None:
    rng = np.random.default_rng(7)
    for samples in (rng.gamma(1.5, 1.0, (n, 2000)) - 1.5, rng.standard_normal((n, 2000)), rng.standard_t(3, (n, 2000))):
        hits = [0.0 in interval for interval in mean_interval(samples)]
        assert 0.93 < np.mean(hits) < 0.975


@pytest.mark.parametrize("sizes", [[10] * 20, [1, 2, 3, 4, 5, 6, 7, 8] * 3, [25, 2, 2, 2, 2, 2] * 8])
def test_clustered_intervals_cover_where_plain_ones_do_not(sizes: list[int]) -> None:
    rng = np.random.default_rng(3)
    experiments = 1000
    effect = np.repeat(rng.standard_normal((len(sizes), experiments)), sizes, axis=0)
    samples = effect + 0.5 * rng.standard_normal(effect.shape)
    names = [f"s{i:02}" for i, size in enumerate(sizes) for _ in range(size)]

    def coverage(clusters: list[str] | None) -> float:
        return float(np.mean([0 in i for i in mean_interval(samples, clusters)]))

    assert coverage(None) < 0.75
    assert 0.93 < coverage(names) < 0.975


def test_clusters_of_one_are_utterances() -> None:
    values = skewed(30)[:, None]
    assert mean_interval(values, [f"{i:02}" for i in range(30)]) == mean_interval(values)


@given(st.lists(st.floats(-100, 100), min_size=MIN_UNITS, max_size=40), st.floats(-10, 10), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_intervals_move_and_stretch_with_the_values(values: list[float], shift: float, scale: float) -> None:
    column = np.array(values)[:, None]
    (interval,) = mean_interval(column)
    assert interval.low <= np.mean(values) + 1e-9 and np.mean(values) - 1e-9 <= interval.high
    if np.ptp(column) > 1e-3:
        (moved,) = mean_interval(scale * column + shift)
        assert moved.low == pytest.approx(scale * interval.low + shift, rel=1e-6, abs=1e-5)
        assert moved.high == pytest.approx(scale * interval.high + shift, rel=1e-6, abs=1e-5)


def test_columns_do_not_depend_on_their_neighbours() -> None:
    table = np.stack([skewed(20, 1), skewed(20, 2), skewed(20, 3)], 1)
    table[4, 1] = np.nan
    together = mean_interval(table)
    assert together == [mean_interval(table[:, [i]])[0] for i in range(3)]
    (alone,) = mean_interval(np.delete(table[:, 1], 4)[:, None])
    assert (together[1].low, together[1].high) == pytest.approx((alone.low, alone.high), abs=1e-12)


def test_too_few_values_have_no_interval_and_constants_have_no_width() -> None:
    assert not mean_interval(np.ones((MIN_UNITS - 1, 1)))[0].known
    assert not mean_interval(np.full((10, 1), np.nan))[0].known
    assert mean_interval(np.empty((0, 2)))[1].known is False
    (constant,) = mean_interval(np.full((10, 1), 0.3))
    assert (constant.low, constant.high) == pytest.approx((0.3, 0.3), abs=1e-12)

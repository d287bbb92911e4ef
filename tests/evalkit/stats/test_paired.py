"""Tests of paired differences against scipy and statsmodels, and against what must hold."""

from math import isnan, nan

import numpy as np
import pytest
import scipy.stats

from evalkit.stats import adjust, compare, exceeds
from evalkit.stats.paired import exceed


def test_comparisons_agree_with_the_paired_t_test_and_scipys_signed_ranks() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(2.4, 0.3, 45), rng.normal(2.3, 0.3, 45)
    (found,) = compare((a - b)[:, None])
    t = scipy.stats.ttest_rel(a, b)
    assert found.difference == pytest.approx(np.mean(a - b)) and found.n == found.units == 45
    assert found.p == pytest.approx(t.pvalue, abs=0.02)
    assert found.p_wilcoxon == pytest.approx(scipy.stats.wilcoxon(a, b).pvalue, abs=1e-12)
    theirs = t.confidence_interval()
    assert (found.interval.low, found.interval.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


@pytest.mark.parametrize("n", [6, 10, 20, 45, 80])
def test_signed_ranks_are_scipys_with_ties_and_zeros_as_well(n: int) -> None:
    plain = np.random.default_rng(n).standard_normal((n, 4)) + 0.2
    values = np.concatenate([plain, np.round(plain * 2) / 2], 1)
    values[-1, 3] = 0.0
    for test, column in zip(compare(values), values.T, strict=True):
        assert test.p_wilcoxon == pytest.approx(scipy.stats.wilcoxon(column[column != 0]).pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [6, 12, 45])
def test_nothing_is_found_that_the_t_test_would_not_find_or_whose_interval_holds_no_difference(n: int) -> None:
    rng = np.random.default_rng(n)
    values = np.concatenate([rng.standard_normal((n, 300)) + 0.4, rng.lognormal(0, 1, (n, 300)) - 1], 1)
    found = compare(values)
    t = scipy.stats.ttest_1samp(values, 0).pvalue
    assert sum(test.p < 0.05 for test in found) > 20
    for test, reference in zip(found, t, strict=True):
        assert test.p >= reference - 1e-12
        assert test.p >= 0.05 or 0.0 not in test.interval


def test_the_direction_of_the_ranks_is_known() -> None:
    mostly = np.array([-0.1] * 28 + [9.0, 10.0])
    same, other = compare(np.stack([mostly * -1 + 0.5, mostly], 1))
    assert same.difference < 0 and not same.ranks_agree, "the mean is below 0, the ranks say above"
    assert other.difference > 0 and not other.ranks_agree
    assert compare(np.ones((8, 1)))[0].ranks_agree


@pytest.mark.parametrize("n", [6, 12, 45])
def test_the_minimum_detectable_effect_is_detected_with_the_power_it_names(n: int) -> None:
    values = np.random.default_rng(1).standard_normal(n)
    (found,) = compare(values[:, None])
    rng = np.random.default_rng(2)
    experiments = rng.standard_normal((n, 1500)) + found.detectable / values.std(ddof=1)
    detected = [test.p < 0.05 for test in compare(experiments)]
    assert 0.76 < np.mean(detected) < 0.86


def test_with_many_utterances_the_minimum_detectable_effect_is_statsmodels() -> None:
    from statsmodels.stats.power import TTestPower

    values = np.random.default_rng(1).standard_normal(400)
    (found,) = compare(values[:, None])
    power = TTestPower().power(found.detectable / values.std(ddof=1), nobs=400, alpha=0.05)
    assert power == pytest.approx(0.8, abs=1e-3)


def test_true_ties_are_rarely_told_apart() -> None:
    for n in (6, 12, 45):
        experiments = np.random.default_rng(4).standard_normal((n, 2000))
        assert np.mean([c.p < 0.05 for c in compare(experiments)]) < 0.055


def test_equal_codecs_are_equal() -> None:
    (found,) = compare(np.zeros((10, 1)))
    assert (found.difference, found.p, found.p_wilcoxon, found.detectable) == (0, 1, 1, 0)


def test_a_difference_that_never_varies_is_as_sure_as_so_many_signs_can_be() -> None:
    found = compare(np.full((8, 1), -0.3))[0]
    assert found.p == pytest.approx(2 / 2**8) and found.interval.low == pytest.approx(-0.3)


def test_too_few_pairs_are_not_tested() -> None:
    found, nothing = compare(np.stack([np.ones(4), np.full(4, nan)], 1))
    assert found.n == 4 and found.difference == 1 and isnan(found.p) and not found.interval.known
    assert nothing.n == 0 and isnan(nothing.difference) and isnan(nothing.p)


def test_clusters_flip_together() -> None:
    """Eight speakers of five utterances that agree: 40 utterances are no more evidence than 8."""
    effect = np.random.default_rng(1).normal(0.8, 0.7, 8)
    values = np.repeat(effect, 5)[:, None]
    names = [f"s{i}" for i in range(8) for _ in range(5)]
    clustered, plain = compare(values, names)[0], compare(values)[0]
    assert (clustered.n, clustered.units) == (40, 8) and clustered.p > 20 * plain.p
    assert clustered.p == pytest.approx(compare(effect[:, None])[0].p)


# --- one-sided, with a margin ------------------------------------------------------------------------------------


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("n", [6, 12, 45])
def test_a_loss_of_the_margin_is_rarely_called_larger(n: int, clustered: bool) -> None:
    rng = np.random.default_rng(3)
    unit = np.repeat(np.arange(n), 1 + np.arange(n) % 3) if clustered else np.arange(n)
    noise = rng.standard_normal((n, 2000))[unit] + rng.standard_normal((len(unit), 2000))
    clusters = [str(u) for u in unit] if clustered else None
    p, bounds = exceed(noise + 0.3, 0.3, clusters)
    assert np.mean(p < 0.05) < 0.055 and np.mean(bounds > 0.3) < 0.06
    assert np.all(bounds[p < 0.05] > 0.3)
    p, _ = exceed(noise + 3, 0.3, clusters)
    assert np.mean(p < 0.05) > 0.6


def test_the_lower_bound_is_scipys_where_nothing_is_skewed() -> None:
    half = np.random.default_rng(0).standard_normal(10)
    values = np.concatenate([half, -half]) + 1
    p, bound = exceeds(values, 0.5)
    theirs = scipy.stats.ttest_1samp(values, 0.5, alternative="greater")
    assert bound == pytest.approx(theirs.confidence_interval(0.95).low)
    assert p == pytest.approx(theirs.pvalue, abs=0.01)


# --- corrections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correction", ["holm", "bh", "none"])
def test_corrections_are_the_textbooks(correction: str) -> None:
    p = [0.01, 0.04, nan, 0.03, 0.005]
    adjusted = adjust(p, correction)  # type: ignore[arg-type]
    assert isnan(adjusted[2])
    expected = {
        "holm": [0.03, 0.06, 0.06, 0.02],  # Holm (1979): sorted p times 4, 3, 2, 1, made monotone
        "bh": [0.02, 0.04, 0.04, 0.02],  # Benjamini and Hochberg (1995): sorted p times 4/1, 4/2, 4/3, 4/4
        "none": [0.01, 0.04, 0.03, 0.005],
    }[correction]
    assert [adjusted[i] for i in (0, 1, 3, 4)] == pytest.approx(expected)
    if correction == "bh":
        assert scipy.stats.false_discovery_control([0.01, 0.04, 0.03, 0.005]) == pytest.approx(expected)

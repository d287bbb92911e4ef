"""Statistics against scipy and statsmodels, against what must hold, and against known truths by simulation."""

import time
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.results.rows import Row, to_frame
from evalkit.stats import (
    MIN_UNITS,
    SUMMARY_COLUMNS,
    Question,
    Settings,
    adjust,
    all_pairs,
    compare,
    compare_codecs,
    mean_interval,
    summarize,
)
from evalkit.stats.bootstrap import resampled_means


def skewed(n: int, seed: int = 0) -> np.ndarray:
    """[n]: skewed as character error rates are."""
    return np.random.default_rng(seed).gamma(1.5, 1.0, n)


# --- intervals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "name"), [("bca", "BCa"), ("percentile", "percentile")])
@pytest.mark.parametrize("n", [6, 45, 400])
def test_intervals_equal_scipys_on_the_same_resamples(method: str, name: str, n: int) -> None:
    values = skewed(n)
    means = resampled_means(values[:, None], np.ones(n))[:, 0]

    class Given:  # what scipy takes resamples from, where it is to add none of its own
        bootstrap_distribution = means

    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=0, bootstrap_result=Given(), method=name, vectorized=True
    ).confidence_interval
    (ours,) = mean_interval(values[:, None], method=method)  # type: ignore[arg-type]
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_resampling_agrees_with_scipys_own() -> None:
    values = skewed(45)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=10_000, random_state=1).confidence_interval
    (ours,) = mean_interval(values[:, None])
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.05 * width and abs(ours.high - theirs.high) < 0.05 * width


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_intervals_cover_the_truth_as_often_as_they_say(method: str) -> None:
    rng = np.random.default_rng(7)
    samples = rng.gamma(1.5, 1.0, (45, 1000))  # 1000 experiments with 45 utterances whose true mean is 1.5
    hits = [1.5 in interval for interval in mean_interval(samples, method=method, resamples=2000)]  # type: ignore[arg-type]
    assert 0.915 < np.mean(hits) < 0.97


def test_clustered_intervals_cover_where_plain_ones_do_not() -> None:
    rng = np.random.default_rng(3)
    speakers, each, experiments = 20, 10, 400
    effect = np.repeat(rng.standard_normal((speakers, experiments)), each, axis=0)
    samples = effect + 0.5 * rng.standard_normal(effect.shape)
    names = [f"s{i:02}" for i in range(speakers) for _ in range(each)]

    def coverage(clusters: list[str] | None) -> float:
        return float(np.mean([0 in i for i in mean_interval(samples, clusters, resamples=1000)]))

    assert coverage(None) < 0.6
    assert coverage(names) > 0.9


def test_clusters_of_one_are_utterances() -> None:
    values = skewed(30)[:, None]
    assert mean_interval(values, [f"{i:02}" for i in range(30)]) == mean_interval(values)


@given(
    st.lists(st.floats(-100, 100), min_size=MIN_UNITS, max_size=40),
    st.floats(-10, 10),
    st.floats(0.1, 10),
    st.sampled_from(["bca", "percentile"]),
)
@settings(max_examples=25, deadline=None)
def test_intervals_move_and_stretch_with_the_values(values: list[float], shift: float, scale: float, how: str) -> None:
    column = np.array(values)[:, None]
    (interval,) = mean_interval(column, method=how, resamples=500)  # type: ignore[arg-type]
    assert min(values) - 1e-9 <= interval.low <= interval.high <= max(values) + 1e-9
    if np.ptp(column) > 1e-3:
        (moved,) = mean_interval(scale * column + shift, method=how, resamples=500)  # type: ignore[arg-type]
        assert moved.low == pytest.approx(scale * interval.low + shift, abs=1e-6)
        assert moved.high == pytest.approx(scale * interval.high + shift, abs=1e-6)


def test_columns_do_not_depend_on_their_neighbours() -> None:
    table = np.stack([skewed(20, 1), skewed(20, 2), skewed(20, 3)], 1)
    table[4, 1] = nan
    together = mean_interval(table)
    assert together == [mean_interval(table[:, [i]])[0] for i in range(3)]
    present = np.delete(table[:, 1], 4)
    assert together[1] == mean_interval(present[:, None])[0], "a missing value leaves the others as they are"


def test_too_few_values_have_no_interval_and_constants_have_no_width() -> None:
    assert not mean_interval(np.ones((MIN_UNITS - 1, 1)))[0].known
    assert not mean_interval(np.full((10, 1), nan))[0].known
    (constant,) = mean_interval(np.full((10, 1), 0.3))
    assert (constant.low, constant.high) == pytest.approx((0.3, 0.3), abs=1e-12)


def test_the_seed_decides_and_memory_bounds_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    values = skewed(50)[:, None]
    first = mean_interval(values)
    assert first == mean_interval(values) != mean_interval(values, seed=1)
    monkeypatch.setattr("evalkit.stats.bootstrap._DRAWS_AT_ONCE", 777)
    (again,) = mean_interval(values)
    assert (again.low, again.high) == pytest.approx((first[0].low, first[0].high), abs=1e-12)


# --- comparisons -------------------------------------------------------------------------------------------------


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


def test_the_minimum_detectable_effect_is_detected_with_the_power_it_names() -> None:
    from statsmodels.stats.power import TTestPower

    values = np.random.default_rng(1).standard_normal(45)
    (found,) = compare(values[:, None])
    power = TTestPower().power(found.detectable / values.std(ddof=1), nobs=45, alpha=0.05)
    assert power == pytest.approx(0.8, abs=1e-4)
    rng = np.random.default_rng(2)
    experiments = rng.standard_normal((45, 800)) + found.detectable / values.std(ddof=1)
    detected = [c.p < 0.05 for c in compare(experiments, resamples=1000)]
    assert 0.74 < np.mean(detected) < 0.86


def test_true_ties_are_rarely_told_apart() -> None:
    experiments = np.random.default_rng(4).standard_normal((45, 500))
    assert np.mean([c.p < 0.05 for c in compare(experiments, resamples=1000)]) < 0.08


def test_equal_codecs_are_equal() -> None:
    (found,) = compare(np.zeros((10, 1)))
    assert (found.difference, found.p, found.p_wilcoxon, found.detectable) == (0, 1, 1, 0)


def test_too_few_pairs_are_not_tested() -> None:
    found, nothing = compare(np.stack([np.ones(4), np.full(4, nan)], 1))
    assert found.n == 4 and found.difference == 1 and isnan(found.p) and not found.interval.known
    assert nothing.n == 0 and isnan(nothing.difference)


@pytest.mark.parametrize(("correction", "name"), [("holm", "holm"), ("bh", "fdr_bh"), ("none", None)])
def test_corrections_are_the_textbooks(correction: str, name: str | None) -> None:
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


# --- rows --------------------------------------------------------------------------------------------------------


def rows(n: int = 30, shift: float = 0.2) -> list[Row]:
    """Two codecs whose utterances differ much, and from each other by `shift` and a little noise."""
    rng = np.random.default_rng(0)
    level, noise = rng.normal(2, 0.5, n), rng.normal(0, 0.1, n)
    return [
        Row(codec, "d", f"u{i:03}", "m", float(value), speaker=f"s{i % 10}")
        for codec, values in (("good", level + shift + noise), ("poor", level))
        for i, value in enumerate(values)
    ]


def test_pairing_finds_what_separate_intervals_cannot() -> None:
    frame = to_frame(rows(), ["good", "poor"])
    summary = summarize(frame).set_index("codec")
    assert tuple(summarize(frame).columns) == SUMMARY_COLUMNS
    assert summary.at["good", "ci_low"] < summary.at["poor", "ci_high"], "the intervals overlap"
    (answer,) = compare_codecs(frame, [Question("m", "good", "poor")], Settings())
    assert answer.separable and answer.comparison.difference == pytest.approx(0.2, abs=0.05)
    (turned,) = compare_codecs(frame, [Question("m", "poor", "good")], Settings())
    assert turned.comparison.difference == -answer.comparison.difference
    assert turned.comparison.p == answer.comparison.p


def test_only_utterances_that_both_have_are_compared() -> None:
    some = [row for row in rows() if not (row.codec == "poor" and row.utterance < "u010")]
    (answer,) = compare_codecs(to_frame(some, ["good", "poor"]), [Question("m", "good", "poor")], Settings())
    assert answer.comparison.n == 20
    (absent,) = compare_codecs(to_frame(some, ["good", "poor"]), [Question("m", "good", "gone")], Settings())
    assert absent.comparison.n == 0 and not absent.separable


def test_speakers_are_drawn_together_on_request() -> None:
    frame = to_frame(rows(), ["good", "poor"])
    (answer,) = compare_codecs(frame, [Question("m", "good", "poor")], Settings(cluster="speaker"))
    assert (answer.comparison.n, answer.comparison.units) == (30, 10)
    with pytest.raises(UsageError, match="say nothing in the column 'language'"):
        summarize(frame, Settings(cluster="language"))


def test_a_correction_of_many_questions_can_still_find_something() -> None:
    frame = to_frame(rows(), ["good", "poor"])
    answers = compare_codecs(frame, [Question("m", "good", "poor")] * 100, Settings(resamples=100))
    assert all(answer.separable for answer in answers)


def test_a_comparison_takes_two() -> None:
    assert all_pairs("abc", ["m"]) == [Question("m", *pair) for pair in ("ab", "ac", "bc")]
    with pytest.raises(UsageError, match="takes two codecs"):
        all_pairs(["one"], ["m"])


def test_a_table_takes_seconds(tmp_path: Path) -> None:
    many = [
        Row(f"codec{c:02}", "d", f"u{i:02}", f"m{m}", float(c + i % 7 + m))
        for c in range(11) for i in range(45) for m in range(8)
    ]  # fmt: skip
    frame = to_frame(many, [f"codec{c:02}" for c in range(11)])
    started = time.process_time()
    summarize(frame)
    assert time.process_time() - started < 5

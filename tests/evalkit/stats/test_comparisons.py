"""From rows to summaries and comparisons: the right pairs, the right corrections, and in seconds."""

import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from evalkit.errors import UsageError
from evalkit.results.rows import Row, to_frame
from evalkit.stats import SUMMARY_COLUMNS, ComparisonRequest, Settings, all_pairs, compare_codecs, summarize


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
    (found,) = compare_codecs(frame, [ComparisonRequest("m", "good", "poor")], Settings())
    assert found.significant and found.test.difference == pytest.approx(0.2, abs=0.05)
    (turned,) = compare_codecs(frame, [ComparisonRequest("m", "poor", "good")], Settings())
    assert turned.test.difference == -found.test.difference
    assert turned.test.p == found.test.p


def test_only_utterances_that_both_have_are_compared() -> None:
    some = [row for row in rows() if not (row.codec == "poor" and row.utterance < "u010")]
    frame = to_frame(some, ["good", "poor"])
    (found,) = compare_codecs(frame, [ComparisonRequest("m", "good", "poor")], Settings())
    assert found.test.n == 20
    (absent,) = compare_codecs(frame, [ComparisonRequest("m", "good", "gone")], Settings())
    assert absent.test.n == 0 and not absent.significant and not absent.decidable


def test_speakers_are_drawn_together_on_request() -> None:
    frame = to_frame(rows(), ["good", "poor"])
    (found,) = compare_codecs(frame, [ComparisonRequest("m", "good", "poor")], Settings(cluster="speaker"))
    assert (found.test.n, found.test.units) == (30, 10)
    with pytest.raises(UsageError, match="the column 'language' is empty"):
        summarize(frame, Settings(cluster="language"))


def test_a_correction_of_many_comparisons_can_still_find_something() -> None:
    frame = to_frame(rows(), ["good", "poor"])
    found = compare_codecs(frame, [ComparisonRequest("m", "good", "poor")] * 1000, Settings(resamples=100))
    assert all(comparison.significant for comparison in found)


def test_pairs_too_few_for_so_many_comparisons_are_named() -> None:
    frame = to_frame(rows(7, shift=5.0), ["good", "poor"])
    request = ComparisonRequest("m", "good", "poor")
    (alone,) = compare_codecs(frame, [request], Settings())
    assert alone.significant and alone.decidable
    for correction, decidable in (("holm", False), ("none", True)):
        many = compare_codecs(frame, [request] * 10, Settings(correction=correction))  # type: ignore[arg-type]
        assert [c.decidable for c in many] == [c.significant for c in many] == [decidable] * 10


def test_skewed_metrics_are_tested_on_ranks_as_well() -> None:
    """A few utterances on which `poor` breaks down carry the mean; by most of them it is the better one."""
    rng = np.random.default_rng(3)
    level = rng.normal(5, 1, 40)
    worse = np.concatenate([np.full(30, -0.3), rng.uniform(4, 9, 10)])
    frame = to_frame(
        [Row(c, "d", f"u{i:02}", "cer", float(v)) for c, vs in (("good", level), ("poor", level + worse))
         for i, v in enumerate(vs)],
        ["good", "poor"],
    )  # fmt: skip
    request = ComparisonRequest("cer", "good", "poor")
    (by_mean,) = compare_codecs(frame, [request], Settings())
    (by_ranks,) = compare_codecs(frame, [request], Settings(), skewed=["cer"])
    assert by_mean.significant and not by_mean.test.ranks_agree
    assert not by_ranks.significant and by_ranks.p_adjusted == 1


def test_a_comparison_takes_two() -> None:
    assert all_pairs("abc", ["m"]) == [ComparisonRequest("m", *pair) for pair in ("ab", "ac", "bc")]
    with pytest.raises(UsageError, match="needs two codecs"):
        all_pairs(["one"], ["m"])


def test_blocks_of_comparisons_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = to_frame(rows(), ["good", "poor"])
    requests = [ComparisonRequest("m", *pair) for pair in (("good", "poor"), ("poor", "good"), ("good", "good"))]
    whole = compare_codecs(frame, requests, Settings())
    monkeypatch.setattr("evalkit.stats.comparisons._NUMBERS_AT_ONCE", 31)
    assert compare_codecs(frame, requests, Settings()) == whole


def test_a_table_takes_seconds() -> None:
    many = [
        Row(f"codec{c:02}", "d", f"u{i:02}", f"m{m}", float(c + i % 7 + m))
        for c in range(11) for i in range(45) for m in range(8)
    ]  # fmt: skip
    frame = to_frame(many, [f"codec{c:02}" for c in range(11)])
    started = time.process_time()
    summarize(frame)
    assert time.process_time() - started < 5


@pytest.mark.slow
def test_two_hundred_thousand_rows_take_seconds_and_bounded_memory() -> None:
    """20 codecs, 10 metrics and 1,000 utterances: 1,900 comparisons. Before the sign-flip tests, 112 s and 3.2 GB."""
    codecs, metrics = [f"c{i:02}" for i in range(20)], [f"m{i}" for i in range(10)]
    index = pd.MultiIndex.from_product([codecs, metrics, range(1000)], names=["codec", "metric", "utterance"])
    frame = pd.DataFrame({"value": np.random.default_rng(0).standard_normal(len(index))}, index).reset_index()
    frame["utterance"] = frame["utterance"].astype(str)
    tracemalloc.start()
    started = time.process_time()
    found = compare_codecs(frame, all_pairs(codecs, metrics), Settings())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 1900 and not any(one.significant for one in found)
    assert time.process_time() - started < 60 and peak < 400e6

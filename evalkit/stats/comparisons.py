"""Rows to comparisons between codecs: always on the same utterances, pair by pair."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import isnan

import numpy as np
import pandas as pd

from evalkit.errors import UsageError
from evalkit.stats.multiple import adjust, multiplier
from evalkit.stats.paired import PairedTest, compare
from evalkit.stats.signflip import resamples_for, units_needed
from evalkit.stats.summary import Settings, by_utterance

_NUMBERS_AT_ONCE = 2_000_000
"""Bounds the memory, not the result."""


@dataclass(frozen=True)
class ComparisonRequest:
    """Is `a` different from `b` by `metric`? Codecs as the rows name them."""

    metric: str
    a: str
    b: str


@dataclass(frozen=True)
class Comparison:
    """`test` is of a - b; `p_adjusted` holds for all comparisons that were asked for together.

    `decidable` says whether so few pairs could have been found different at all, had they all pointed the same way.
    """

    request: ComparisonRequest
    test: PairedTest
    p_adjusted: float
    level: float
    decidable: bool

    @property
    def significant(self) -> bool:
        """Whether the codecs differ, at `level`."""
        return not isnan(self.p_adjusted) and self.p_adjusted < 1 - self.level


def compare_codecs(
    rows: pd.DataFrame,
    requests: Iterable[ComparisonRequest],
    settings: Settings,
    skewed: Collection[str] = (),
) -> list[Comparison]:
    """Test codecs against each other. The test is of the mean difference; by skewed metrics the signed-rank test must
    find the same difference as well. P-values are corrected over all requests that have enough units to test.

    Args:
        rows: Of one dataset and condition, as in rows.parquet.
        requests: What is asked.
        settings: How differences are judged.
        skewed: Names of metrics that are tested on ranks as well.

    Returns:
        An answer to each request, in their order; one whose codec or metric the rows do not have gets n = 0.
    """
    asked = list(requests)
    values, clusters = by_utterance(rows, settings.cluster)
    missing = pd.Series(np.nan, values.index)
    resamples = resamples_for(len(asked), settings.level, settings.resamples)
    step = max(1, _NUMBERS_AT_ONCE // max(1, len(values)))
    tests: list[PairedTest] = []
    for start in range(0, len(asked), step):
        differences = [
            values.get((request.a, request.metric), missing) - values.get((request.b, request.metric), missing)
            for request in asked[start : start + step]
        ]
        tests += compare(np.stack(differences, 1), clusters, settings.level, resamples, settings.seed)
    p = [_p(test, request.metric in skewed) for test, request in zip(tests, asked, strict=True)]
    tested = sum(not isnan(found) for found in p)
    needed = units_needed(multiplier(max(1, tested), settings.correction), settings.level)
    return [
        Comparison(request, test, adjusted, settings.level, test.units >= needed)
        for request, test, adjusted in zip(asked, tests, adjust(p, settings.correction), strict=True)
    ]


def _p(test: PairedTest, on_ranks: bool) -> float:
    if not on_ranks or isnan(test.p):
        return test.p
    return max(test.p, test.p_wilcoxon) if test.ranks_agree else 1.0


def all_pairs(codecs: Iterable[str], metrics: Iterable[str]) -> list[ComparisonRequest]:
    """Every two codecs, by every metric.

    Args:
        codecs: As the rows name them.
        metrics: Likewise.

    Returns:
        The requests, by metric.

    Raises:
        UsageError: There are fewer than two codecs.
    """
    names = list(codecs)
    if len(names) < 2:
        raise UsageError(f"a comparison needs two codecs, but there is {names[0] if names else 'none'}")
    return [ComparisonRequest(metric, a, b) for metric in metrics for i, a in enumerate(names) for b in names[i + 1 :]]

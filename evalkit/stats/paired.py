"""Tests of paired differences. Each takes two p-values, and the larger one counts:

- of the sign-flip permutation test (signflip.py): exact where differences are symmetric, at n = 6 as well;
- of the t test with Hall's correction for skewness, from which the interval comes as well (means.py).

So nothing is called different that a paired t test would not, and nothing whose interval holds 0. What breaks: where
the true means are equal although the differences are strongly skewed, every test of a mean errs with few utterances,
this one less than t; docs/decisions/0005-statistics.md has the numbers. For metrics whose values are strongly skewed,
error rates above all, the signed-rank test has to agree too (comparisons.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.stats.means import LEVEL, MIN_UNITS, Clusters, Floats, Interval, Means, Units, means_of, units_of
from evalkit.stats.signflip import RESAMPLES, SEED, sign_flip_p

POWER = 0.8
"""Probability with which the minimum detectable effect would be detected."""

_EXACT_RANKS = 13
"""Pairs up to which all patterns of signs of the ranks are counted."""


@dataclass(frozen=True)
class PairedTest:
    """What paired values say of the mean of `a - b`.

    `p` is of the mean, `p_wilcoxon` of the signed-rank test (over cluster means where clustered), both two-sided and
    before any correction; NaN below MIN_UNITS. `ranks_agree` says whether the ranks lean the same way as the mean.
    `detectable` is the smallest true difference that a test at 1 - level over as many units would find with
    probability POWER.
    """

    n: int
    units: int
    difference: float
    interval: Interval
    p: float
    p_wilcoxon: float
    ranks_agree: bool
    detectable: float


def compare(
    differences: ArrayLike,
    clusters: Clusters = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[PairedTest]:
    """Test each column of paired differences.

    Args:
        differences: [n, m], values of one codec less those of another on the same utterances; NaN where either has
            none.
        clusters: [n], each row's speaker; None takes utterances. Of two, listener and item, signs are flipped of whole
            listeners and of whole items, and the largest p-value counts.
        level: Of the intervals and of `detectable`, 0 to 1.
        resamples: Patterns of signs, where not all are counted.
        seed: Of the patterns.

    Returns:
        [m] tests.
    """
    table = np.asarray(differences, np.float64)
    sides = units_of(table, clusters)
    means = means_of(table, sides)
    p = np.maximum.reduce([means.p_different(), *(sign_flip_p(one.sums, True, resamples, seed) for one in sides)])
    p[means.units < MIN_UNITS] = np.nan
    ranked = [_signed_ranks(one, means) for one in sides]
    p_wilcoxon = np.maximum.reduce([found for found, _ in ranked])
    agree = np.logical_and.reduce([found for _, found in ranked])
    n = np.count_nonzero(~np.isnan(table), axis=0)
    detectable = _detectable(means, 1 - level)
    return [
        PairedTest(int(n[i]), int(means.units[i]), float(means.mean[i]), interval, float(p[i]), float(p_wilcoxon[i]),
                   bool(agree[i]), float(detectable[i]))
        for i, interval in enumerate(means.intervals(level))
    ]  # fmt: skip


def exceeds(
    values: ArrayLike,
    threshold: float,
    clusters: Sequence[str] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Whether a true mean lies above a threshold.

    Args:
        values: [n], NaN where there is none.
        threshold: In the unit of the values.
        clusters: As in `compare`.
        level: Of the bound, 0 to 1.
        resamples: As in `compare`.
        seed: As in `compare`.

    Returns:
        The p-value against "it does not", and the one-sided lower bound; both NaN below MIN_UNITS.
    """
    p, bounds = exceed(np.asarray(values, np.float64)[:, None], threshold, clusters, level, resamples, seed)
    return float(p[0]), float(bounds[0])


def exceed(
    values: Floats,
    threshold: float,
    clusters: Sequence[str] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[Floats, Floats]:
    """`exceeds` for each column.

    Args:
        values: [n, m], NaN where there is none.
        threshold: In the unit of the values.
        clusters: As in `compare`.
        level: Of the bounds, 0 to 1.
        resamples: As in `compare`.
        seed: As in `compare`.

    Returns:
        P-values and lower bounds, both [m].
    """
    units = Units.of(values, clusters)
    means = Means.of(units)
    flips = sign_flip_p(units.sums - threshold * units.counts, False, resamples, seed)
    p = np.where(means.units < MIN_UNITS, np.nan, np.maximum(means.p_above(threshold), flips))
    return p, means.limits(1 - level)[0]


def _signed_ranks(units: Units, means: Means) -> tuple[Floats, NDArray[np.bool_]]:
    """P-values [m] of the signed-rank test over the units' means, and whether the ranks lean as the mean does. Pairs
    without a difference say nothing; 1 where no pair differs."""
    from scipy.stats import rankdata, wilcoxon

    with np.errstate(invalid="ignore"):
        values = np.nan_to_num(units.sums / units.counts)
    values[values == 0] = np.nan  # to be left out of the ranks
    ranks = np.nan_to_num(np.sign(values) * rankdata(np.abs(values), axis=0, nan_policy="omit"))
    differing = np.count_nonzero(ranks, axis=0)
    p = np.ones(len(differing))
    few = differing <= _EXACT_RANKS
    # The test is the sign-flip test of the ranks. scipy counts all patterns, too, but takes seconds where ranks tie.
    p[few] = sign_flip_p(ranks[:, few], True, 2**_EXACT_RANKS)
    groups: dict[tuple[int, bool], list[int]] = {}
    for column in np.flatnonzero(~few):
        untied = len(np.unique(np.abs(ranks[ranks[:, column] != 0, column])))
        groups.setdefault((int(differing[column]), untied < differing[column]), []).append(int(column))
    for columns in groups.values():  # of one kind, since scipy chooses one method for all columns that it is given
        kept = np.stack([values[ranks[:, column] != 0, column] for column in columns], 1)
        p[columns] = wilcoxon(kept, axis=0).pvalue
    p[means.units < MIN_UNITS] = np.nan
    return p, ranks.sum(0) * means.mean >= 0


def _detectable(means: Means, alpha: float) -> Floats:
    """The t test's minimum detectable differences [m]; with few units, what more the two tests together need. That was
    simulated with normal differences: 80 % at 1.76 times at n = 6, 1.22 at 10, 1.14 at 12, 1.05 at 20, 1.01 at 45."""
    errors = np.array([_effect_size(float(freedom), alpha) for freedom in means.freedom])
    with np.errstate(divide="ignore"):
        return errors * means.error * (1 + 30 / means.units**2)


@cache
def _effect_size(freedom: float, alpha: float) -> float:
    """Standard errors that a two-sided t test at `alpha` with `freedom` finds with probability POWER."""
    from statsmodels.stats.power import TTestPower

    if not freedom > 0:
        return nan
    units = freedom + 1
    return float(TTestPower().solve_power(nobs=units, alpha=alpha, power=POWER, alternative="two-sided")) * sqrt(units)

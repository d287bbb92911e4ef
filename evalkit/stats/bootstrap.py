"""The bootstrap: how far a mean, or a mean difference, would move had other utterances been drawn.

Conventions
-----------
What is drawn again, with replacement, is a *unit*: an utterance, or all utterances of a speaker where results are
clustered. A unit u carries its sum s_u and its count c_u, and the mean is sum(s) / sum(c): for utterances c_u = 1.
Intervals are two-sided and hold `level` of the probability. Everything is a function of the values, their order and
the seed. Below MIN_UNITS units there is no interval and no test: a bootstrap over so few promises far too much, and
with fewer no signed-rank test could ever reach 5 %.

Sources: Efron and Tibshirani, *An Introduction to the Bootstrap* (1993), chapters 13 (percentile), 14 (BCa) and 16
(tests); `scipy.stats.bootstrap`, with which the tests compare, gives the same intervals but knows no clusters and
resamples every column anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import isnan, nan
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["bca", "percentile"]
Floats = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
POWER = 0.8
"""Probability with which the minimum detectable effect would be detected."""
MIN_UNITS = 6

_DRAWS_AT_ONCE = 2_000_000
"""Bounds the memory of the resampling, not its result."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a mean, in the metric's unit; both NaN where there are too few units."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def known(self) -> bool:
        return not isnan(self.low)


UNKNOWN = Interval(nan, nan)


@dataclass(frozen=True)
class Comparison:
    """What paired values say of the mean of `a - b`.

    `p` is of the paired bootstrap, `p_wilcoxon` of the signed-rank test (over cluster means where clustered), both
    two-sided and before any correction; NaN below MIN_UNITS. `detectable` is the smallest true difference that a test
    at 1 - level over as many units would find with probability POWER.
    """

    n: int
    units: int
    difference: float
    interval: Interval
    p: float
    p_wilcoxon: float
    detectable: float


def mean_interval(
    values: ArrayLike,
    clusters: Sequence[str] | None = None,
    method: Method = "bca",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Interval]:
    """Interval of the mean of each column of `values` [n, m], rows being utterances; NaN means no value.

    `clusters` [n] names each row's speaker. Columns are resampled alike, so the result of one does not depend on which
    others are there.
    """
    table = np.asarray(values, np.float64)
    intervals = [UNKNOWN] * table.shape[1]
    for columns, sums, counts in _complete(table, clusters):
        means = resampled_means(sums, counts, resamples, seed)
        for position, column in enumerate(columns):
            intervals[column] = _interval(means[:, position], sums[:, position], counts, method, level)
    return intervals


def compare(
    differences: ArrayLike,
    clusters: Sequence[str] | None = None,
    method: Method = "bca",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> list[Comparison]:
    """A comparison for each column of `differences` [n, m]: values of one codec less those of another on the same
    utterances, NaN where either has none; `clusters` as in `mean_interval`."""
    table = np.asarray(differences, np.float64)
    n = np.count_nonzero(~np.isnan(table), axis=0)
    means = [
        float(np.mean(column[~np.isnan(column)])) if count else nan for column, count in zip(table.T, n, strict=True)
    ]
    answers = [Comparison(int(c), 0, mean, UNKNOWN, nan, nan, nan) for c, mean in zip(n, means, strict=True)]
    for columns, sums, counts in _complete(table, clusters):
        resampled = resampled_means(sums, counts, resamples, seed)
        for position, column in enumerate(columns):
            mean = means[column]
            answers[column] = Comparison(
                n=int(n[column]),
                units=len(counts),
                difference=mean,
                interval=_interval(resampled[:, position], sums[:, position], counts, method, level),
                p=exceeding(np.abs(resampled[:, position] - mean), abs(mean)),
                p_wilcoxon=wilcoxon(sums[:, position] / counts),
                detectable=_detectable(sums[:, position], counts, level),
            )
    return answers


def exceeds(
    values: ArrayLike,
    threshold: float,
    clusters: Sequence[str] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Whether the true mean of `values` [n] lies above `threshold`: the p-value against "it does not", and the
    one-sided lower bound (percentile) at `level`. Both NaN below MIN_UNITS; `clusters` as in `mean_interval`."""
    table = np.asarray(values, np.float64)[:, None]
    for _, sums, counts in _complete(table, clusters):
        means = resampled_means(sums, counts, resamples, seed)[:, 0]
        mean = float(sums.sum() / counts.sum())
        return exceeding(means - mean, mean - threshold), float(np.quantile(means, 1 - level))
    return nan, nan


def resampled_means(sums: Floats, counts: Floats, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Means [resamples, m] of units drawn with replacement from `sums` [u, m] and `counts` [u]."""
    rng = np.random.default_rng(seed)
    units = len(counts)
    parts = []
    for start in range(0, resamples, step := max(1, _DRAWS_AT_ONCE // units)):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)
        parts.append((weights @ sums) / (weights @ counts)[:, None])
    return np.concatenate(parts)


def exceeding(statistic: Floats, observed: float) -> float:
    """P-value of `observed` among the resampled values of a statistic under the null, itself counted among them."""
    return float((1 + np.count_nonzero(statistic >= observed)) / (1 + len(statistic)))


def wilcoxon(differences: Floats, alternative: Literal["two-sided", "greater"] = "two-sided") -> float:
    """P-value of the signed-rank test; pairs without a difference say nothing, and 1 where no pair differs."""
    from scipy.stats import wilcoxon as signed_rank

    differing = differences[differences != 0]
    return float(signed_rank(differing, alternative=alternative).pvalue) if len(differing) else 1.0


def _complete(table: Floats, clusters: Sequence[str] | None) -> list[tuple[list[int], Floats, Floats]]:
    """Columns of `table` [n, m] that have values for the same rows, with their units' sums [u, m'] and counts [u];
    those with fewer than MIN_UNITS units are left out."""
    present = ~np.isnan(table)
    groups: dict[bytes, list[int]] = {}
    for column in range(table.shape[1]):
        groups.setdefault(present[:, column].tobytes(), []).append(column)
    found = []
    for columns in groups.values():
        rows = present[:, columns[0]]
        sums = table[rows][:, columns]
        counts = np.ones(len(sums))
        if clusters is not None and len(sums):
            _, unit = np.unique(np.asarray(clusters, str)[rows], return_inverse=True)
            counts = np.bincount(unit).astype(np.float64)
            sums = np.stack([np.bincount(unit, column) for column in sums.T], 1)
        if len(counts) >= MIN_UNITS:
            found.append((columns, sums, counts))
    return found


def _interval(means: Floats, sums: Floats, counts: Floats, method: Method, level: float) -> Interval:
    """Interval from the resampled `means` [resamples] of units with `sums` [u] and `counts` [u]."""
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _corrected(tails, means, sums, counts)
    low, high = np.quantile(means, tails)
    return Interval(float(low), float(high))


def _corrected(tails: Floats, means: Floats, sums: Floats, counts: Floats) -> Floats:
    """BCa: `tails` [2] moved by the bias z0 of the resampled means and the acceleration a of the jackknife."""
    from scipy.special import ndtr, ndtri

    mean = sums.sum() / counts.sum()
    ties = 1e-12 * np.abs(sums).max() / counts.min()  # resampled means that equal the mean but for rounding
    share = (np.mean(means < mean - ties) + np.mean(means <= mean + ties)) / 2
    without = (sums.sum() - sums) / (counts.sum() - counts)  # [u]: the mean with unit u left out
    spread = without.mean() - without
    variation = float(np.sum(spread**2))
    if variation < 1e-30 or not 0 < share < 1:  # constant values: there is nothing to correct
        return tails
    bias = ndtri(share)
    acceleration = float(np.sum(spread**3)) / (6 * variation**1.5)
    z = bias + ndtri(tails)
    return np.asarray(ndtr(bias + z / (1 - acceleration * z)), np.float64)


def _detectable(sums: Floats, counts: Floats, level: float) -> float:
    """Minimum detectable difference: the paired t test's effect size times the standard error of the mean."""
    units = len(counts)
    residuals = sums - sums.sum() / counts.sum() * counts
    error = np.sqrt(units / (units - 1) * np.sum(residuals**2)) / counts.sum()
    return float(_effect_size(units, 1 - level) * np.sqrt(units) * error)


@cache
def _effect_size(units: int, alpha: float) -> float:
    """Cohen's d that a two-sided paired t test at `alpha` finds with probability POWER."""
    from statsmodels.stats.power import TTestPower

    return float(TTestPower().solve_power(nobs=units, alpha=alpha, power=POWER, alternative="two-sided"))

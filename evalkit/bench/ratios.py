"""Medians with intervals, and ratios of what was timed in the same rounds.

Intervals are between order statistics: distribution-free and exact, since the true median lies below any observation
with probability 1/2. They hold at least LEVEL; with fewer than six rounds no interval can, and there is none. A ratio
is taken within each round, so that what slows a round down slows both sides; its interval is that of the median of
the logarithms.
"""

from math import nan

import numpy as np
from numpy.typing import ArrayLike

from evalkit.stats.means import LEVEL, UNKNOWN, Interval


def median(values: ArrayLike, level: float = LEVEL) -> tuple[float, Interval]:
    """A median and how sure it is, by the order statistics of the binomial distribution.

    Args:
        values: [n].
        level: Probability, at least, with which the interval holds the true median.

    Returns:
        Both NaN without values; the interval is where there are too few.
    """
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    if not n:
        return nan, UNKNOWN
    # The k-th smallest and largest miss it with probability 2 P(B < k), B ~ Binomial(n, 1/2).
    k = int(binom.ppf((1 - level) / 2, n, 0.5))
    if 2 * binom.cdf(k - 1, n, 0.5) > 1 - level:
        k -= 1
    middle = float(np.median(ordered))
    return middle, Interval(float(ordered[k - 1]), float(ordered[n - k])) if k > 0 else UNKNOWN


def ratio(first: ArrayLike, second: ArrayLike, level: float = LEVEL) -> tuple[float, Interval]:
    """A median ratio, paired by round.

    Args:
        first: [n], above 0.
        second: [n], above 0.
        level: As in `median`.

    Returns:
        The median of `first` / `second`, and its interval.
    """
    middle, interval = median(np.log(first) - np.log(second), level)
    if not interval.known:
        return float(np.exp(middle)), UNKNOWN
    return float(np.exp(middle)), Interval(float(np.exp(interval.low)), float(np.exp(interval.high)))


def exceeds(first: ArrayLike, second: ArrayLike, limit: float) -> float:
    """The sign test against "the median of `first` / `second` is at most `limit`".

    Args:
        first: [n], above 0.
        second: [n], above 0.
        limit: Above 0.

    Returns:
        The p-value, 0 to 1.
    """
    from scipy.stats import binomtest

    logs = np.log(first) - np.log(second) - np.log(limit)
    above, below = int(np.sum(logs > 0)), int(np.sum(logs < 0))
    return float(binomtest(above, above + below, 0.5, "greater").pvalue) if above + below else 1.0

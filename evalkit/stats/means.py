"""Means of utterances or of whole speakers, how far they may be off, and intervals that hold what they promise.

Conventions
-----------
A *unit* is what was drawn independently: an utterance, or all utterances of a speaker where results are clustered. A
unit u carries its sum s_u and its count c_u, and the mean is sum(s) / sum(c): for utterances c_u = 1. Every column of
a table of values is judged by itself: the result of one does not depend on which others are there.

An interval is Student's t interval, widened on the side to which the values are skewed by Hall's transformation: of
the two limits on either side the one farther out counts. The jackknife gives the standard error and the skewness of
units of unequal size; the degrees of freedom are Kish's effective number of units less one. Nothing is resampled.

How often such intervals of 95 % cover the true mean is simulated by `python -m evalkit.stats.calibration`: 93 to 97 %
from RELIABLE units on. Below MIN_UNITS there is no interval and no test.

Values may have been drawn two ways at once, such as ratings by listeners of items: then the variance of the mean is
that over listeners, plus that over items, less that over single ratings, which is in both; degrees of freedom are those
of the smaller of the two.

Sources: Cameron, Gelbach and Miller, "Robust inference with multiway clustering", J. Bus. Econ. Stat. 29 (2011),
238-249; Hall, "On the removal of skewness by transformation", J. R. Stat. Soc. B 54 (1992), 221-228; Efron, *The
Jackknife, the Bootstrap and Other Resampling Plans* (1982), chapter 2; Kish, *Survey Sampling* (1965), on the
effective sample size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Clusters = Sequence[str] | Sequence[tuple[str, str]] | None
"""What each row was drawn with: None for itself; a speaker; or two at once, a listener and an item."""

LEVEL = 0.95
MIN_UNITS = 6
"""Of five pairs, all with the same sign, an exact two-sided test says p = 0.0625: it takes six to reach 5 %."""
RELIABLE = 12
"""Units from which on intervals of 95 % cover 93 to 97 %, of skewed values too. With fewer they do where values are
close to symmetric, and are wide."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a mean, in the metric's unit; both NaN where there are too few units."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def known(self) -> bool:
        """Whether there were units enough for bounds."""
        return not isnan(self.low)


UNKNOWN = Interval(nan, nan)


@dataclass(frozen=True)
class Units:
    """`sums` and `counts` [u, m] of u units in m columns; a unit without a value has 0 of both."""

    sums: Floats
    counts: Floats

    @classmethod
    def of(cls, values: ArrayLike, clusters: Sequence[str] | None = None) -> "Units":
        """The units of a table of values.

        Args:
            values: [n, m], NaN where there is no value.
            clusters: [n], the unit of each row; None makes each row one.

        Returns:
            Sums and counts [u, m].
        """
        table = np.asarray(values, np.float64)
        present = ~np.isnan(table)
        sums, counts = np.where(present, table, 0.0), present.astype(np.float64)
        if clusters is None or not len(table):
            return cls(sums, counts)
        _, unit = np.unique(np.asarray(clusters, str), return_inverse=True)
        order = np.argsort(unit, kind="stable")
        starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
        return cls(np.add.reduceat(sums[order], starts), np.add.reduceat(counts[order], starts))


@dataclass(frozen=True)
class Means:
    """Means and what they may be off by, all [m]: `error` is the standard error, `skew` the skewness of a mean of so
    many units, `freedom` the degrees of freedom; NaN below MIN_UNITS `units`."""

    mean: Floats
    error: Floats
    skew: Floats
    freedom: Floats
    units: NDArray[np.int64]

    @classmethod
    def of(cls, units: Units) -> "Means":
        """Jackknife estimates (Efron 1982, chapter 2), by pseudo-values P_u, one of which is left out at a time:

            P_u - mean = (u - 1) (s_u - mean c_u) / (sum(c) - c_u)

        which is s_u - mean for single utterances. The skewness is the bias-adjusted one, times u / (u - 3): in samples
        of a dozen the skewness comes out too small even so, and the factor is what makes intervals cover.

        Args:
            units: [u, m].

        Returns:
            Estimates [m]; all but the mean NaN below MIN_UNITS units.
        """
        sums, counts = units.sums, units.counts
        n = np.count_nonzero(counts, axis=0)
        total = column_sums(counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = column_sums(sums) / total
            pseudo = (n - 1) * (sums - mean * counts) / (total - counts)
            pseudo -= np.where(counts > 0, column_sums(pseudo) / n, 0.0)
            squares = column_sums(pseudo**2)
            error = np.sqrt(squares / (n - 1) / n)
            error = np.where(error > 1e-12 * np.abs(mean), error, 0.0)  # constant but for rounding
            skew = column_sums(pseudo**3) / n / (squares / n) ** 1.5
            skew = skew * np.sqrt(n * (n - 1)) / (n - 2) * n / (n - 3) / np.sqrt(n)
            freedom = total**2 / column_sums(counts**2) - 1
        few = n < MIN_UNITS
        skew = np.where(error > 0, skew, 0.0)
        error, skew, freedom = (np.where(few, nan, found) for found in (error, skew, freedom))
        return cls(mean, error, skew, freedom, n)

    @classmethod
    def crossed(cls, values: ArrayLike, sides: Sequence["Units"]) -> "Means":
        """Those of `values` [n, m] that were drawn two ways, with the units of either way in `sides`."""
        first, second = (cls.of(units) for units in sides)
        single = cls.of(Units.of(values)).error
        larger = np.maximum(first.error, second.error)
        error = np.sqrt(np.maximum(first.error**2 + second.error**2 - single**2, larger**2))
        skew = np.where(first.error >= second.error, first.skew, second.skew)
        freedom = np.minimum(first.freedom, second.freedom)
        return cls(first.mean, error, skew, freedom, np.minimum(first.units, second.units))

    def limits(self, tail: float) -> tuple[Floats, Floats]:
        """One-sided limits of the means (Hall 1992).

        Args:
            tail: Probability with which the true mean lies beyond each, 0 to 0.5.

        Returns:
            Lower and upper limits [m].
        """
        from scipy.special import stdtrit

        quantile = -stdtrit(self.freedom, tail)
        low = self.mean - np.maximum(quantile, _unskewed(self.skew, quantile)) * self.error
        high = self.mean - np.minimum(-quantile, _unskewed(self.skew, -quantile)) * self.error
        return low, high

    def intervals(self, level: float) -> list[Interval]:
        """Two-sided intervals.

        Args:
            level: Probability with which each holds its true mean, 0 to 1.

        Returns:
            [m] of them.
        """
        return [Interval(float(low), float(high)) for low, high in zip(*self.limits((1 - level) / 2), strict=True)]

    def p_above(self, threshold: float) -> Floats:
        """One-sided tests; the lower limit at tail p is the threshold.

        Args:
            threshold: What the true mean is at most, by the null hypothesis; in the metric's unit.

        Returns:
            P-values [m], 0 to 1.
        """
        from scipy.special import stdtr

        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (self.mean - threshold) / self.error
        distance = np.where(np.isnan(distance) & (self.error == 0), 0.0, distance)
        # A distance against which the skew speaks is shortened, and none is made longer.
        return np.asarray(stdtr(self.freedom, -np.minimum(distance, _skewed(self.skew, distance))))

    def p_different(self) -> Floats:
        """Two-sided p-values [m] against "the true mean is 0"."""
        turned = Means(-self.mean, self.error, -self.skew, self.freedom, self.units)
        return np.minimum(1.0, 2 * np.minimum(self.p_above(0.0), turned.p_above(0.0)))


def column_sums(table: Floats) -> Floats:
    """Sums of columns, each to the last bit the same whatever other columns there are.

    Args:
        table: [u, m].

    Returns:
        [m].
    """
    return np.ascontiguousarray(table.T).sum(1)


def mean_interval(values: ArrayLike, clusters: Clusters = None, level: float = LEVEL) -> list[Interval]:
    """Interval of the mean of each column.

    Args:
        values: [n, m], rows being utterances; NaN means no value.
        clusters: [n], each row's speaker, or listener and item; None takes utterances.
        level: Probability with which each interval holds its true mean, 0 to 1.

    Returns:
        [m] intervals, in the unit of the values.
    """
    return means_of(values, units_of(values, clusters)).intervals(level)


def units_of(values: ArrayLike, clusters: Clusters) -> list[Units]:
    """The units of `values` [n, m], once for each way in which they were drawn."""
    if clusters is not None and len(clusters) and isinstance(clusters[0], tuple):
        return [Units.of(values, [str(row[side]) for row in clusters]) for side in (0, 1)]
    return [Units.of(values, clusters)]  # type: ignore[arg-type]


def means_of(values: ArrayLike, sides: Sequence[Units]) -> Means:
    """The means of `values` [n, m] over the units in `sides`, as `units_of` gives them."""
    return Means.of(sides[0]) if len(sides) == 1 else Means.crossed(values, sides)


def _skewed(skew: Floats, distance: Floats) -> Floats:
    """Hall's transformation: the studentised `distance` as it would be, had the values no skewness."""
    with np.errstate(invalid="ignore", over="ignore"):
        moved = distance + skew / 3 * distance**2 + skew**2 / 27 * distance**3 + skew / 6
    return np.where((skew == 0) | np.isinf(distance), distance, moved)


def _unskewed(skew: Floats, distance: Floats) -> Floats:
    """The inverse of `_skewed`."""
    straight = ~(np.abs(skew) > 1e-6)
    divisor = np.where(straight, 1.0, skew)
    return np.where(straight, distance, 3 / divisor * (np.cbrt(1 + divisor * (distance - divisor / 6)) - 1))

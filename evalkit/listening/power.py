"""How many listeners and items a difference needs.

The difference between two systems as one listener hears it on one item is

    d = difference + listener + item + rating,   listener ~ N(0, L^2), item ~ N(0, I^2), rating ~ N(0, R^2)

independently: listeners differ in how much a system bothers them, items in how hard they are on it. With l listeners
who rate i items each, the mean of d has the variance L^2 / l + I^2 / i + R^2 / (l i), and is tested by t with
min(l, i) - 1 degrees of freedom and by flipped signs, as `--cluster listener,item` does (stats/paired.py). More
listeners do not help where few items are the limit. tests/evalkit/listening/test_power.py holds the formula to panels
that are simulated and tested as real ones are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stats.means import LEVEL, MIN_UNITS
from evalkit.stats.paired import POWER


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a difference between two systems, in points of the scale."""

    listener: float
    item: float
    rating: float
    source: str = ""
    """Where they are from."""


ASSUMED = {
    "mushra": Spread(6.0, 6.0, 15.0, "assumed; --pilot estimates it from your own ratings"),
    "acr": Spread(0.25, 0.3, 1.0, "assumed; --pilot estimates it from your own ratings"),
    "abx": Spread(0.1, 0.15, 0.65, "assumed; --pilot estimates it from your own ratings"),
}
"""Where there is no pilot. They are round numbers for codecs of middling quality, not anybody's measurement."""
MOST = 500
"""Listeners that are tried."""
TWO_TESTS = 15.0
"""What flipped signs, and the widening for skewness, cost beside t alone: an effect of 1 + 15 / units^2 times. Found
by simulating normal differences, 300 panels each: power 67 % where this says 62 at 15 listeners x 10 items, 80 and 79
at 20 x 12, 40 and 43 at 60 x 8, 74 and 76 at 30 x 16, 84 and 84 at 16 x 24."""


def power(difference: float, listeners: int, items: int, spread: Spread, comparisons: int = 1) -> float:
    """Probability with which a true `difference` is found at the level of 5 %, over `comparisons` (Bonferroni's bound
    on Holm's correction); 0 where there are too few listeners or items for a test."""
    from scipy.stats import nct, t

    units = min(listeners, items)
    if units < MIN_UNITS:
        return 0.0
    error = sqrt(spread.listener**2 / listeners + spread.item**2 / items + spread.rating**2 / (listeners * items))
    if error == 0:
        return 1.0
    bound = t.isf((1 - LEVEL) / comparisons / 2, units - 1)
    shift = abs(difference) / error / (1 + TWO_TESTS / units**2)
    return float(nct.sf(bound, units - 1, shift) + nct.cdf(-bound, units - 1, shift))


def listeners_needed(difference: float, items: int, spread: Spread, comparisons: int = 1) -> int | None:
    """The fewest listeners who find `difference` with the probability POWER; None where MOST do not."""
    tried = range(MIN_UNITS, MOST + 1)
    return next((n for n in tried if power(difference, n, items, spread, comparisons) >= POWER), None)


def spread_of(rows: pd.DataFrame, metric: str) -> Spread:
    """What a pilot says: analysis of variance of the differences of every two systems, over the listeners who rated all
    items; a component that comes out below 0 is 0.

    Args:
        rows: Of a run of ratings.
        metric: The design.

    Raises:
        UsageError: The rows are no ratings, or too few.
    """
    if not {"listener", "item"} <= set(rows.columns):
        raise UsageError("the run holds no ratings: a pilot is a run that `evalkit listen import` wrote")
    kept = rows[(rows["metric"] == metric) & rows["value"].notna()]
    systems = [one for one in kept["codec"].unique() if one.partition("@")[0] not in ("pcm", "anchor")]
    tables = {
        system: kept[kept["codec"] == system].pivot(index="listener", columns="item", values="value").astype(float)
        for system in systems
    }
    found = []
    for place, first in enumerate(systems):
        for second in systems[place + 1 :]:
            difference = (tables[first] - tables[second]).dropna()
            if min(difference.shape) > 1:
                found.append(components(difference.to_numpy()))
    if not found:
        raise UsageError("a pilot needs at least two systems that two listeners rated on the same two items")
    listener, item, rating = np.sqrt(np.mean(found, axis=0))
    return Spread(float(listener), float(item), float(rating), f"the pilot: {len(found)} pairs of systems")


def components(difference: NDArray[np.float64]) -> tuple[float, float, float]:
    """Variance components of `difference` [listeners, items]: of listeners, items and single ratings."""
    listeners, items = difference.shape
    rows, columns = difference.mean(1), difference.mean(0)
    rest = difference - rows[:, None] - columns[None] + difference.mean()
    rating = float((rest**2).sum() / ((listeners - 1) * (items - 1)))
    by_listener, by_item = items * rows.var(ddof=1), listeners * columns.var(ddof=1)
    return max(0.0, (by_listener - rating) / items), max(0.0, (by_item - rating) / listeners), rating


def grid(
    difference: float, listeners: Sequence[int], items: Sequence[int], spread: Spread, comparisons: int
) -> NDArray[np.float64]:
    """Power for each number of listeners and items [listeners, items]."""
    return np.array([[power(difference, n, m, spread, comparisons) for m in items] for n in listeners])

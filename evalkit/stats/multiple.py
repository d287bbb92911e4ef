"""P-values for many comparisons at once. One in twenty true ties looks like a difference at 5 %; a table has dozens."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

Correction = Literal["holm", "bh", "none"]
CORRECTIONS: tuple[str, ...] = get_args(Correction)
"""`holm` bounds the chance of any false difference, `bh` (Benjamini-Hochberg) the share of false ones among those
found; `none` leaves p-values as they are."""

_STATSMODELS = {"holm": "holm", "bh": "fdr_bh"}


def adjust(p: Sequence[float], correction: Correction = "holm") -> list[float]:
    """Adjusted p-values, comparable with the level wanted, by statsmodels.

    Args:
        p: [m], 0 to 1; a NaN stays NaN and does not count as a comparison.
        correction: One of CORRECTIONS.

    Returns:
        [m], 0 to 1, each at least as large as before.
    """
    values = np.asarray(p, np.float64)
    known = ~np.isnan(values)
    if correction != "none" and known.any():
        from statsmodels.stats.multitest import multipletests

        values[known] = multipletests(values[known], method=_STATSMODELS[correction])[1]
    return [float(value) for value in values]


def multiplier(comparisons: int, correction: Correction) -> int:
    """What the smallest p-value is multiplied by where all are alike: what cannot be significant even then cannot be at
    all.

    Args:
        comparisons: How many p-values there are.
        correction: One of CORRECTIONS.

    Returns:
        The factor, 1 or more.
    """
    return comparisons if correction == "holm" else 1

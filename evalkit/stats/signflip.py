"""The sign-flip permutation test of a mean: how often would chance alone have made it as large?

Where two codecs are alike, each utterance could as well have had its difference with the other sign. So the sum is
compared with the sums under all patterns of signs, or under a random part of them: exact where the differences are
symmetric about the tested mean, whatever their distribution. With clusters, whole clusters flip.

- As many patterns as there are, where there are at most `resamples`: p = count / 2^u, u units with a difference.
- Else patterns are drawn, p = (count + 1) / (draws + 1). Drawing stops once ENOUGH patterns reach the observed sum:
  then p = count / draws (Besag and Clifford).
- Where Hoeffding's inequality alone gives a p below 1 / (resamples + 1), that is the p: nothing is drawn.

All three are valid p-values: where the null hypothesis holds, none is below a more often than with probability a.

Sources: Fisher, *The Design of Experiments* (1935), section 21; Phipson and Smyth, "Permutation p-values should never
be zero", Stat. Appl. Genet. Mol. Biol. 9 (2010), article 39; Besag and Clifford, "Sequential Monte Carlo p-values",
Biometrika 78 (1991), 301-304; Hoeffding, J. Am. Stat. Assoc. 58 (1963), 13-30, theorem 2.
"""

from math import ceil, floor, log2

import numpy as np
from numpy.typing import NDArray

from evalkit.stats.means import MIN_UNITS, Floats, column_sums

RESAMPLES = 10_000
SEED = 0
ENOUGH = 1000

_NUMBERS_AT_ONCE = 4_000_000
"""Bounds the memory, not the result."""


def units_needed(comparisons: int, level: float, two_sided: bool = True) -> int:
    """Units from which on a difference can be significant where its p-value is multiplied. With fewer it cannot,
    however large: of u units that all point the same way the test says p = 2 / 2^u, or half of that one-sided.

    Args:
        comparisons: What the p-value is multiplied by.
        level: 1 - level is what it has to be below; 0 to 1.
        two_sided: Whether differences of both signs count.

    Returns:
        MIN_UNITS or more.
    """
    return max(MIN_UNITS, floor(log2((1 + two_sided) * comparisons / (1 - level))) + 1)


def resamples_for(comparisons: int, level: float, at_least: int = RESAMPLES) -> int:
    """Patterns enough for a correction: with ten times fewer, no p-value could come out below 1 - level.

    Args:
        comparisons: What the correction multiplies p-values by, at most.
        level: 0 to 1.
        at_least: Where fewer would do.

    Returns:
        How many patterns of signs to draw.
    """
    return max(at_least, ceil(10 * comparisons / (1 - level)))


def sign_flip_p(sums: Floats, two_sided: bool, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """P-values of the sign-flip test.

    Args:
        sums: [u, m], units less what the null hypothesis says that they sum to; 0 for a unit without a value.
        two_sided: Whether to test against "the mean is 0"; else against "it is at most 0".
        resamples: Patterns of signs, where there are more than can be counted.
        seed: Of the patterns that are drawn; the same for all columns.

    Returns:
        [m], above 0 and at most 1.
    """
    total, energy = column_sums(sums), column_sums(sums**2)
    observed = np.abs(total) if two_sided else total
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = (1 + two_sided) * np.exp(-(observed**2) / (2 * energy))
    p = np.where((observed > 0) & (energy > 0), np.minimum(bound, 1.0), 1.0)
    differing = np.count_nonzero(sums, axis=0)
    # Patterns of more than 62 units are not counted.
    few = 2.0 ** np.minimum(differing, 62) <= resamples
    for count in np.unique(differing[few]):
        columns = np.flatnonzero(few & (differing == count))
        kept = np.stack([sums[sums[:, column] != 0, column] for column in columns], 1)
        p[columns] = _all_patterns(kept, observed[columns], two_sided)
    open_columns = np.flatnonzero(~few & (p > 1 / (resamples + 1)))
    p[open_columns] = _drawn_patterns(sums[:, open_columns], observed[open_columns], two_sided, resamples, seed)
    return p


def _all_patterns(sums: Floats, observed: Floats, two_sided: bool) -> Floats:
    units, columns = sums.shape
    reached = np.zeros(columns, np.int64)
    step = max(1, _NUMBERS_AT_ONCE // max(units, columns, 1))
    for start in range(0, patterns := 2**units, step):
        number = np.arange(start, min(start + step, patterns))
        flipped = (number[:, None] >> np.arange(units) & 1).astype(np.float64)
        reached += np.count_nonzero(_reach(sums, flipped, observed, two_sided, 1e-10), axis=0)
    return reached / patterns


def _drawn_patterns(sums: Floats, observed: Floats, two_sided: bool, resamples: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    units, columns = sums.shape
    p, reached, drawn = np.ones(columns), np.zeros(columns, np.int64), 0
    left = np.arange(columns)
    single = sums.astype(np.float32)
    while len(left) and drawn < resamples:
        rows = min(max(1, _NUMBERS_AT_ONCE // max(units, len(left))), 2 * ENOUGH, resamples - drawn)
        # 64 signs a draw of the generator, so that blocks of any size see the same patterns.
        words = rng.integers(0, 2**64, (rows, -(-units // 64)), np.uint64)
        flipped = np.unpackbits(words.view(np.uint8), axis=1, count=units).astype(np.float32)
        reach = _reach(single[:, left], flipped, observed[left], two_sided, 1e-6)
        before, reached[left] = reached[left], reached[left] + np.count_nonzero(reach, axis=0)
        done = reached[left] >= ENOUGH
        for position in np.flatnonzero(done):
            last = np.flatnonzero(reach[:, position])[ENOUGH - before[position] - 1]
            p[left[position]] = ENOUGH / (drawn + last + 1)
        left, drawn = left[~done], drawn + rows
    p[left] = (reached[left] + 1) / (drawn + 1)
    return p


def _reach(
    sums: NDArray[np.floating], flipped: NDArray[np.floating], observed: Floats, two_sided: bool, rounding: float
) -> NDArray[np.bool_]:
    """Whether each pattern of `flipped` [b, u] (1 or 0) makes as large a sum as was observed: [b, m]. What equals it
    but for `rounding` does: with rounded values, many patterns tie."""
    flips = sums.sum(0) - 2 * (flipped @ sums)
    if two_sided:
        np.abs(flips, out=flips)
    return flips >= observed - rounding * np.abs(sums).sum(0)

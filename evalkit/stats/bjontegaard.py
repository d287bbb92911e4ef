"""Bjontegaard's delta rate: how many per cent more bits one family of codecs needs for the same quality."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import UndefinedScore

Floats = NDArray[np.float64]


def bd_rate(anchor: tuple[Floats, Floats], test: tuple[Floats, Floats]) -> float:
    """Mean difference of log rate over the range of quality that both reach, in per cent of the anchor's rate.

    The logarithm of the rate is interpolated over quality by piecewise cubic Hermite polynomials that keep it monotone
    (PCHIP), as in JCTVC-L1100.

    Args:
        anchor: Rates [N] in bit/s, and the quality [N] at each, higher for better.
        test: Likewise [M].

    Returns:
        Below 0 where `test` needs fewer bits.

    Raises:
        UndefinedScore: a family has fewer than two rates, its quality does not rise with its rate, or the two have no
            quality in common.
    """
    from scipy.interpolate import PchipInterpolator

    curves = []
    for what, (rates, quality) in (("anchor", anchor), ("test", test)):
        order = np.argsort(rates)
        rates, quality = rates[order], quality[order]
        if len(rates) < 2:
            raise UndefinedScore(f"the {what} has {len(rates)} rate: it needs two or more")
        if not (np.diff(quality) > 0).all():
            raise UndefinedScore(f"the quality of the {what} does not rise with its rate")
        curves.append((quality, PchipInterpolator(quality, np.log(rates))))
    low = max(float(quality[0]) for quality, _ in curves)
    high = min(float(quality[-1]) for quality, _ in curves)
    if high <= low:
        raise UndefinedScore("the two quality ranges do not overlap")
    first, second = (float(curve.integrate(low, high)) for _, curve in curves)
    return float(100 * np.expm1((second - first) / (high - low)))


def bd_rate_interval(
    rates: tuple[Floats, Floats],
    qualities: tuple[Floats, Floats],
    clusters: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """`bd_rate` of means over utterances, with the percentile interval of a bootstrap over utterances.

    Args:
        rates: Of the anchor [N] and the test [M].
        qualities: Values [utterances, N] and [utterances, M] on the same utterances, higher for better.
        clusters: Of each utterance: whole clusters are drawn; None draws utterances.
        level: Of the interval.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        The delta rate, and the bounds of its interval: NaN where more than one draw in twenty has none.

    Raises:
        UndefinedScore: as `bd_rate`.
    """
    first, second = qualities
    found = bd_rate((rates[0], first.mean(0)), (rates[1], second.mean(0)))
    names = np.arange(len(first)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    members = [np.flatnonzero(names == name) for name in range(names.max() + 1)]
    rng, draws = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        try:
            draws.append(bd_rate((rates[0], first[drawn].mean(0)), (rates[1], second[drawn].mean(0))))
        except UndefinedScore:
            continue
    if len(draws) < 0.95 * resamples:
        return found, float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return found, float(low), float(high)

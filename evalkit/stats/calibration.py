"""How often the statistics err where the truth is known: false winners, false alarms, missed means, missed differences.

    python -m evalkit.stats.calibration --rows reports/examples/authors-demo/rows.csv      (make calibration)

simulates families of 55 comparisons without any difference, as a table of eleven codecs has them, and prints for each
kind of differences and each n how many families name a winner after Holm's correction, how many fail a gate whose
margin is the true loss, how often 95 % intervals hold the true mean, and how often a difference of half a standard
deviation is found by one comparison; beside each the paired t test's own rate. Clustered, n speakers with one to four
utterances each are drawn; t is then of the speakers' means.

Exit code 1 where a number breaks what `Simulation.broken` asks for.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from evalkit.stats.means import LEVEL, RELIABLE, Floats
from evalkit.stats.paired import PairedTest, compare, exceed
from evalkit.stats.signflip import resamples_for

Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

COMPARISONS = 55
SIZES = (6, 12, 20, 45, 200)
SEED = 7
CERTAIN = 5
"""Times the families of a cell that is simulated again."""
MARGIN = 0.3

SYMMETRIC: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "Student t, 3 degrees": lambda rng, shape: rng.standard_t(3, shape),
    "normal, rounded to halves": lambda rng, shape: np.round(rng.standard_normal(shape) * 2) / 2,
    "every two of eleven codecs": lambda rng, shape: _every_two(rng.standard_normal((shape[0], 11)))[:, : shape[1]],
}
SKEWED: dict[str, Draw] = {
    "gamma, shape 4": lambda rng, shape: rng.gamma(4, 1, shape) - 4,
    "log-normal, sigma 1": lambda rng, shape: rng.lognormal(0, 1, shape) - exp(0.5),
}


def _every_two(values: Floats) -> Floats:
    """The difference of every two columns."""
    return np.stack([values[:, i] - values[:, j] for i, j in combinations(range(values.shape[1]), 2)], 1)


def real(rows: pd.DataFrame) -> dict[str, Draw]:
    """Differences of every two codecs by each metric, centred and scaled to a standard deviation of 1.

    Args:
        rows: As in rows.parquet.

    Returns:
        Kinds of differences by name; what is drawn from them is drawn with replacement.
    """
    kinds: dict[str, Draw] = {}
    for metric, part in rows.groupby("metric", sort=False):
        values = part.pivot(index="utterance", columns="codec", values="value").dropna().to_numpy(np.float64)
        pairs = _every_two(values)
        pairs = (pairs - pairs.mean(0)) / pairs.std(0, ddof=1)

        def draw(rng: np.random.Generator, shape: tuple[int, int], pairs: Floats = pairs) -> Floats:
            columns = np.arange(shape[1]) % pairs.shape[1]
            return pairs[rng.integers(0, len(pairs), shape), columns]

        kinds[f"real, {metric}"] = draw
    return kinds


@dataclass(frozen=True)
class Simulation:
    """What one kind of differences gave at one n: shares of families, of intervals, of comparisons."""

    kind: str
    n: int
    clustered: bool
    families: int
    winners: float
    winners_t: float
    alarms: float
    alarms_t: float
    coverage: float
    power: float
    power_t: float

    def broken(self) -> list[str]:
        """Which of the promises these numbers break."""
        error = sqrt(0.05 * 0.95 / self.families)
        allowed = 0.05 + 2 * error
        strict = self.kind in SYMMETRIC
        hits = self.families * COMPARISONS
        slack = 2 * sqrt(0.05 * 0.95 / hits)
        found = []
        if self.winners > (allowed if strict else max(allowed, self.winners_t)):
            found.append("false winners")
        if self.alarms > (allowed if strict else max(allowed, self.alarms_t)):
            found.append("false alarms")
        if self.n >= RELIABLE and not 0.93 - slack <= self.coverage <= 0.97 + slack:
            found.append("coverage")
        if self.n == 45 and self.power < 0.9 * self.power_t:
            found.append("power")
        return found


def simulate(kind: str, draw: Draw, n: int, clustered: bool, families: int, seed: int = SEED) -> Simulation:
    """One cell of the table.

    Args:
        kind: Its name.
        draw: Gives differences [n, COMPARISONS] without a true mean.
        n: Units.
        clustered: Whether units are speakers with one to four utterances each.
        families: How often a table is drawn.
        seed: Of the draws.

    Returns:
        What came of it.
    """
    rng = np.random.default_rng([seed, n, clustered, *kind.encode()])
    unit = np.repeat(np.arange(n), 1 + np.arange(n) % 4) if clustered else np.arange(n)
    clusters = [f"{u:04}" for u in unit] if clustered else None
    resamples = resamples_for(COMPARISONS, LEVEL)
    spread = float(np.std(draw(rng, (10_000, COMPARISONS))))

    def family() -> Floats:
        values = draw(rng, (n, COMPARISONS))
        return (values[unit] + draw(rng, (len(unit), COMPARISONS))) / sqrt(2) if clustered else values

    def t_test(values: Floats, alternative: str = "two-sided") -> Floats:
        return _t_test(np.stack([np.bincount(unit, column) / np.bincount(unit) for column in values.T], 1), alternative)

    winners = winners_t = alarms = alarms_t = held = found = found_t = 0
    for number in range(families):
        values = family()
        tests = compare(values, clusters, resamples=resamples)
        winners += _any_significant([test.p for test in tests])
        winners_t += _any_significant(t_test(values))
        held += sum(0.0 in test.interval for test in tests)
        losses = -values  # of a skewed kind, that is the side to which means err
        p, _ = exceed(losses + MARGIN, MARGIN, clusters, resamples=resamples)
        alarms += _any_significant(p)
        alarms_t += _any_significant(t_test(losses, "greater"))
        if number < max(20, families // 5):
            moved = values + 0.5 * spread
            found += _significant(compare(moved, clusters))
            found_t += int(np.sum(t_test(moved) < 1 - LEVEL))
    powered = min(families, max(20, families // 5)) * COMPARISONS
    return Simulation(
        kind, n, clustered, families, winners / families, winners_t / families, alarms / families, alarms_t / families,
        held / (families * COMPARISONS), found / powered, found_t / powered,
    )  # fmt: skip


def _t_test(values: Floats, alternative: str) -> Floats:
    """scipy's p-values of each column; 1 where nothing differs, of which it warns."""
    from scipy.stats import ttest_1samp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nan_to_num(np.asarray(ttest_1samp(values, 0, alternative=alternative).pvalue), nan=1.0)


def _any_significant(p: Sequence[float] | Floats) -> bool:
    """Whether Holm's correction leaves any: its first step, for statsmodels takes a second over all of them."""
    return bool(np.min(p) * len(p) < 1 - LEVEL)


def _significant(tests: Sequence[PairedTest]) -> int:
    return sum(test.p < 1 - LEVEL for test in tests)


def simulate_all(kinds: dict[str, Draw], sizes: Sequence[int], families: int) -> Iterator[Simulation]:
    """Every cell, plain and clustered. Of so many, some are two standard errors off by chance: what breaks a promise is
    simulated again with CERTAIN times as many families, and that counts.

    Args:
        kinds: Kinds of differences, by name.
        sizes: Numbers of units.
        families: For each cell.

    Yields:
        Cells, plain and then clustered.
    """
    for clustered in (False, True):
        for kind, draw in kinds.items():
            for n in sizes:
                cell = simulate(kind, draw, n, clustered, families)
                yield simulate(kind, draw, n, clustered, CERTAIN * families, SEED + 1) if cell.broken() else cell


HEAD = (
    "| differences | n | families | false winners (t) | false alarms (t) | coverage | power (t) | |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
)


def line(cell: Simulation) -> str:
    """A line of the table beneath HEAD.

    Args:
        cell: What was simulated.

    Returns:
        Markdown.
    """
    kind = cell.kind + (", clustered" if cell.clustered else "")
    return (
        f"| {kind} | {cell.n} | {cell.families} | {cell.winners:.3f} ({cell.winners_t:.3f}) "
        f"| {cell.alarms:.3f} ({cell.alarms_t:.3f}) "
        f"| {cell.coverage:.3f} | {cell.power:.2f} ({cell.power_t:.2f}) | {', '.join(cell.broken())} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table.

    Args:
        arguments: Of the command line.

    Returns:
        The exit code: 1 where a promise is broken.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=200, metavar="N", help="of each kind; default: %(default)s")
    parser.add_argument("--rows", type=Path, metavar="FILE.csv", help="rows of a run, for real differences")
    args = parser.parse_args(arguments)
    kinds = SYMMETRIC | (real(pd.read_csv(args.rows)) if args.rows else {}) | SKEWED
    broken = 0
    print(f"{args.families} families of {COMPARISONS} comparisons, Holm at {1 - LEVEL:.0%}; in brackets the t test.\n")
    print(HEAD)
    for cell in simulate_all(kinds, SIZES, args.families):
        print(line(cell), flush=True)
        broken += bool(cell.broken())
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())

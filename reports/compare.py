"""Every two codecs, metric by metric: the paired difference, its interval, the tests, and what could be detected. A
codec that was trained on a metric is not compared by it."""

from collections.abc import Sequence
from math import isnan

from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, POWER, Comparison, Settings, all_pairs, compare_codecs

from .table import MISSING, Cell, Column, Table, join, on_ranks, ranks, skewed, too_few, trained_on

COLUMNS = (
    Column("a", "A", words=True),
    Column("b", "B", words=True),
    Column("metric", "Metric", words=True),
    Column("difference", "A − B"),
    Column("low", "low"),
    Column("high", "high"),
    Column("n", "n"),
    Column("p", "p"),
    Column("p_wilcoxon", "p Wilcoxon"),
    Column("p_adjusted", "p adjusted"),
    Column("detectable", "detectable"),
    Column("better", "better", words=True),
)


def build_comparisons(
    runs: Sequence[Run],
    codecs: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    settings: Settings = DEFAULTS,
) -> list[Table]:
    """Paired tests between codecs.

    Args:
        runs: What to read.
        codecs: Which codecs; by default all.
        metrics: Which metrics; by default all that rank codecs.
        settings: How differences are judged and corrected.

    Returns:
        A table for each dataset with a line for every two codecs and each metric.

    Raises:
        UsageError: As `join`, and for codecs and metrics that no run has.
    """
    rows, described = join(runs)
    rows = rows[rows["utterance"] != CORPUS]
    directed = [m for m in dict.fromkeys(rows["metric"]) if m in described and ranks(m, described[m])]
    trained = trained_on(runs)
    for name in metrics or ():
        if name not in directed:
            known = ", ".join(directed)
            raise UsageError(f"no run has a metric {name} that ranks codecs. Those that do: {known}.")
    for name in codecs or ():
        if name not in set(rows["codec"]):
            raise UsageError(f"no run has the codec {name}")
    tables = []
    for dataset, part in rows.groupby("dataset", sort=False):
        names = codecs or list(part["codec"].drop_duplicates())
        requests = all_pairs(names, metrics or directed)
        fair = [r for r in requests if not {(r.a, r.metric), (r.b, r.metric)} & trained]
        comparisons = compare_codecs(part, fair, settings, skewed(described))
        tested = [c for c in comparisons if not isnan(c.test.p)]
        notes = [
            f"low, high: {settings.describe()}; p: {settings.describe_tests(len(tested))}; "
            f"detectable: the smallest difference that a single comparison detects with {POWER:.0%} power.",
            *too_few(tested, settings),
            *on_ranks(tested, described),
        ]
        if len(fair) < len(requests):
            unfair = ", ".join(sorted(f"{codec} by {described[m]['label']}" for codec, m in trained if codec in names))
            notes.append(f"Not compared because the codec was trained on the metric: {unfair}.")
        lines = tuple(_line(c, described[c.request.metric]) for c in comparisons)
        tables.append(Table(str(dataset), COLUMNS, lines, tuple(notes), keys=3))
    return tables


def _line(comparison: Comparison, about: dict[str, object]) -> tuple[Cell, ...]:
    request, test = comparison.request, comparison.test

    def number(value: float, text: str) -> Cell:
        return Cell(MISSING) if isnan(value) else Cell(text.format(value), value)

    unit = f"{{:.{about['decimals']}f}}"
    signed = f"{{:+.{about['decimals']}f}}"
    return (
        Cell(request.a),
        Cell(request.b),
        Cell(str(about["label"])),
        number(test.difference, signed),
        number(test.interval.low, signed),
        number(test.interval.high, signed),
        Cell(str(test.n), test.n),
        number(test.p, "{:.2g}"),
        number(test.p_wilcoxon, "{:.2g}"),
        number(comparison.p_adjusted, "{:.2g}"),
        number(test.detectable, unit),
        Cell(_better(comparison, str(about["direction"]))),
    )


def _better(comparison: Comparison, direction: str) -> str:
    """The codec that the tests find better, or why there is none."""
    if not comparison.significant:
        return "indistinguishable" if comparison.decidable else "too few pairs"
    a_is_better = (comparison.test.difference > 0) == (direction == "up")
    return comparison.request.a if a_is_better else comparison.request.b

"""Every two codecs, metric by metric: the paired difference, its interval, both tests, and what could be detected."""

from collections.abc import Sequence
from math import isnan

from evalkit.errors import UsageError
from evalkit.results.run_directory import CORPUS, Run
from evalkit.stats import DEFAULTS, POWER, Answer, Settings, all_pairs, compare_codecs

from .table import MISSING, Cell, Column, Table, join

COLUMNS = (
    Column("a", "A", words=True),
    Column("b", "B", words=True),
    Column("metric", "Metric", words=True),
    Column("difference", "A − B"),
    Column("low", "low"),
    Column("high", "high"),
    Column("n", "n"),
    Column("p", "p bootstrap"),
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
    """A table for each dataset in `runs` with a line for every two codecs and each metric that has a better end."""
    rows, described = join(runs)
    rows = rows[rows["utterance"] != CORPUS]
    directed = [m for m in dict.fromkeys(rows["metric"]) if m in described and described[m]["direction"] != "none"]
    for name in metrics or ():
        if name not in directed:
            raise UsageError(f"no run has the metric {name} with a better end. There are: {', '.join(directed)}.")
    for name in codecs or ():
        if name not in set(rows["codec"]):
            raise UsageError(f"no run has the codec {name}")
    tables = []
    for dataset, part in rows.groupby("dataset", sort=False):
        names = codecs or list(part["codec"].drop_duplicates())
        answers = compare_codecs(part, all_pairs(names, metrics or directed), settings)
        lines = tuple(_line(answer, described[answer.question.metric]) for answer in answers)
        notes = (
            f"low, high: {settings.describe()}; p adjusted: {settings.correction} over {len(answers)} comparisons "
            f"of the bootstrap; detectable: the difference that one comparison detects with {POWER:.0%} power.",
        )
        tables.append(Table(str(dataset), COLUMNS, lines, notes, keys=3))
    return tables


def _line(answer: Answer, about: dict[str, object]) -> tuple[Cell, ...]:
    question, found = answer.question, answer.comparison

    def number(value: float, text: str) -> Cell:
        return Cell(MISSING) if isnan(value) else Cell(text.format(value), value)

    unit = f"{{:.{about['decimals']}f}}"
    signed = f"{{:+.{about['decimals']}f}}"
    return (
        Cell(question.a),
        Cell(question.b),
        Cell(str(about["label"])),
        number(found.difference, signed),
        number(found.interval.low, signed),
        number(found.interval.high, signed),
        Cell(str(found.n), found.n),
        number(found.p, "{:.2g}"),
        number(found.p_wilcoxon, "{:.2g}"),
        number(answer.p_adjusted, "{:.2g}"),
        number(found.detectable, unit),
        Cell(_better(answer, str(about["direction"]))),
    )


def _better(answer: Answer, direction: str) -> str:
    """The codec that the test finds better, or why there is none."""
    if isnan(answer.p_adjusted):
        return "too few pairs"
    if not answer.separable:
        return "not separable"
    a_is_better = (answer.comparison.difference > 0) == (direction == "up")
    return answer.question.a if a_is_better else answer.question.b

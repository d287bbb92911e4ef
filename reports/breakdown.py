"""A table of each codec's means by language, speaker or any other column of the rows, with their macro average."""

from collections.abc import Sequence
from math import fsum, isnan
from typing import Any

import pandas as pd

from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Interval, Settings, summarize

from .table import ARROWS, MISSING, Cell, Column, Table, join

MACRO = "macro average"
UNKNOWN = "unknown"
"""The group of utterances whose rows say nothing in the column."""


def build_breakdown(
    runs: Sequence[Run],
    by: str,
    metrics: Sequence[str] | None = None,
    settings: Settings = DEFAULTS,
    codecs: Sequence[str] | None = None,
) -> list[Table]:
    """Means by language, speaker or another column.

    Args:
        runs: What to read.
        by: A column of the rows.
        metrics: Which metrics; by default all.
        settings: Of the intervals.
        codecs: Which codecs; by default all.

    Returns:
        A table for each dataset: for each codec a line for every value of the column, then the macro average, which is
        the mean of the lines above it: every language counts alike, however many utterances it has.

    Raises:
        UsageError: As `join`, where the rows have no such column, and for metrics and codecs that no run has.
    """
    rows, described = join(runs, apart=by != "condition")
    rows = rows[rows["utterance"] != CORPUS]
    if by not in rows or by in ("utterance", "metric", "value", "reason", "codec") or rows[by].isna().all():
        raise UsageError(f"the column {by!r} is empty, so the rows cannot be broken down by it")
    measured = [name for name in described if name in set(rows["metric"])]
    shown = measured if metrics is None else list(metrics)
    chosen = list(rows["codec"].drop_duplicates()) if codecs is None else list(codecs)
    for what, asked, known in (("metric", shown, measured), ("codec", chosen, set(rows["codec"]))):
        if absent := [name for name in asked if name not in known]:
            raise UsageError(f"no run has the {what}(s) {', '.join(absent)} for single utterances")
    rows = rows.assign(**{by: rows[by].astype("string").fillna(UNKNOWN)})
    return [
        _table(f"{dataset} by {by}", part, by, shown, chosen, described, settings)
        for dataset, part in rows.groupby("dataset", sort=False)
    ]


def _table(
    title: str,
    rows: pd.DataFrame,
    by: str,
    metrics: Sequence[str],
    codecs: Sequence[str],
    described: dict[str, Any],
    settings: Settings,
) -> Table:
    columns = [Column("codec", "Codec", words=True), Column(by, by, words=True)]
    columns += [Column(m, described[m]["label"], ARROWS[described[m]["direction"]], True) for m in metrics]
    columns += [Column("n", "n"), Column("failed", "failed")]
    lines: list[tuple[Cell, ...]] = []
    for codec in codecs:
        found: dict[str, list[float]] = {m: [] for m in metrics}
        groups = [
            (str(group), part) for group, part in rows[rows["codec"] == codec].groupby(by, sort=by != "condition")
        ]
        for group, part in groups:
            means = summarize(part, settings).set_index("metric")
            cells = []
            for m in metrics:
                mean = float(means.at[m, "mean"]) if m in means.index else float("nan")
                found[m].append(mean)
                cells.append(_cell(mean, means.loc[m] if m in means.index else None, described[m]["decimals"]))
            lines.append((Cell(codec), Cell(group), *cells, *_counts(part)))
        averages = [
            # Over all groups or not at all: a mean of some languages is another number.
            _cell(fsum(found[m]) / len(groups), None, described[m]["decimals"]) if groups else Cell(MISSING)
            for m in metrics
        ]
        if groups and by != "condition":
            lines.append((Cell(codec), Cell(MACRO), *averages, *_counts(rows[rows["codec"] == codec])))
    notes = (f"{MACRO}: the mean of the means by {by}, each with equal weight.",) if by != "condition" else ()
    return Table(title, tuple(columns), tuple(lines), notes, keys=2)


def _cell(mean: float, summary: Any, decimals: int) -> Cell:
    if isnan(mean):
        return Cell(MISSING)
    interval = Interval(float(summary["ci_low"]), float(summary["ci_high"])) if summary is not None else None
    if interval is None or not interval.known:
        return Cell(f"{mean:.{decimals}f}", mean)
    bounds = f"[{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"
    return Cell(f"{mean:.{decimals}f}", mean, interval=bounds, bounds=interval)


def _counts(rows: pd.DataFrame) -> tuple[Cell, Cell]:
    n = rows["utterance"].nunique()
    failed = rows.loc[rows["value"].isna(), "utterance"].nunique()
    return Cell(str(n), n), Cell(str(failed), failed)

"""One table a dataset: codecs as rows, metrics as columns, the best in bold, n and failures beside the means."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import pandas as pd

from evalkit.errors import UsageError
from evalkit.stats import summarize
from evalkit.store import CORPUS, Run

ARROWS = {"up": "↑", "down": "↓", "none": ""}
MISSING = "–"


@dataclass(frozen=True)
class Cell:
    """`text` as shown; `value` for those who compute with it."""

    text: str
    value: float | None = None
    best: bool = False


@dataclass(frozen=True)
class Column:
    """`label` without and `arrow` with the direction in which the metric gets better."""

    key: str
    label: str
    arrow: str = ""

    @property
    def head(self) -> str:
        return f"{self.label} {self.arrow}".strip()


@dataclass(frozen=True)
class Table:
    """A finished table, ready for any renderer (reports/render.py)."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def build_tables(runs: Sequence[Run], metrics: Sequence[str] | None = None) -> list[Table]:
    """A table for each dataset in `runs`; `metrics` chooses and orders the columns.

    Raises UsageError where runs disagree about a metric's version, where a codec comes twice on one dataset, or where
    `metrics` names one that no run has: numbers that are not comparable do not share a table.
    """
    described = _described(runs)
    rows = pd.concat([run.rows for run in runs], ignore_index=True)
    if rows.empty:
        raise UsageError("there are no rows yet: the run stopped before the first utterance was scored")
    for (codec, dataset), count in _sources(runs).items():
        if count > 1:
            raise UsageError(f"{codec} on {dataset} is in {count} of these runs: give one of them")
    present = list(dict.fromkeys(rows.loc[rows["utterance"] != CORPUS, "metric"]))
    corpus = [m for m in dict.fromkeys(rows.loc[rows["utterance"] == CORPUS, "metric"]) if m in described]
    shown = [name for name in described if name in (*present, *corpus)]
    if metrics is not None:
        absent = [name for name in metrics if name not in shown]
        if absent:
            raise UsageError(f"no run has the metric(s) {', '.join(absent)}. There are: {', '.join(shown)}.")
        shown = list(metrics)
    notes = _notes(runs)
    return [_table(str(name), part, shown, described, notes) for name, part in rows.groupby("dataset", sort=False)]


def _table(
    dataset: str,
    rows: pd.DataFrame,
    metrics: Sequence[str],
    described: dict[str, Any],
    notes: tuple[str, ...],
) -> Table:
    means = summarize(rows).set_index(["codec", "metric"])
    scored = [m for m in metrics if m != "bitrate"]
    columns = [Column("codec", "Codec"), Column("kbps", "kbit/s")]
    columns += [Column(m, described[m]["label"], ARROWS[described[m]["direction"]]) for m in scored]
    columns += [Column("n", "n"), Column("failed", "failed")]
    best = {m: _best(means, m, described[m]["direction"]) for m in scored}
    lines = []
    for codec, part in rows.groupby("codec", sort=False):
        utterances = part[part["utterance"] != CORPUS]
        n = utterances["utterance"].nunique()
        failed = utterances.loc[utterances["value"].isna(), "utterance"].nunique()
        cells = [Cell(str(codec)), _bitrate(means, str(codec), utterances)]
        cells += [_cell(means, str(codec), m, described[m]["decimals"], n, best[m]) for m in scored]
        lines.append((*cells, Cell(str(n), n), Cell(str(failed), failed)))
    return Table(dataset, tuple(columns), tuple(lines), notes)


def _bitrate(means: pd.DataFrame, codec: str, utterances: pd.DataFrame) -> Cell:
    """Measured over the whole dataset where the run has it, else the mean of what a manifest declared."""
    if (codec, "bitrate") in means.index:
        kbps = float(means.at[(codec, "bitrate"), "mean"]) / 1000
    else:
        kbps = float(utterances["bitrate_kbps"].mean())
    return Cell(MISSING) if isnan(kbps) else Cell(f"{kbps:.3f}" if kbps < 100 else f"{kbps:.0f}", kbps)


def _cell(means: pd.DataFrame, codec: str, metric: str, decimals: int, n: int, best: float | None) -> Cell:
    if (codec, metric) not in means.index or isnan(float(means.at[(codec, metric), "mean"])):
        return Cell(MISSING)
    summary = means.loc[(codec, metric)]
    value = float(summary["mean"])
    text = f"{value:.{decimals}f}"
    over_fewer = summary["n_failed"] and summary["n"] < n
    if over_fewer:
        text += f" (n={int(summary['n'])})"
    # What prints alike is alike: ties share the bold.
    return Cell(text, value, best is not None and f"{value:.{decimals}f}" == f"{best:.{decimals}f}")


def _best(means: pd.DataFrame, metric: str, direction: str) -> float | None:
    values = means.xs(metric, level="metric")["mean"].dropna() if metric in means.index.levels[1] else []
    if direction == "none" or len(values) < 2:
        return None
    return float(max(values) if direction == "up" else min(values))


def _described(runs: Sequence[Run]) -> dict[str, Any]:
    """What the runs say of their metrics, in the order in which they were asked for."""
    described: dict[str, Any] = {}
    for run in runs:
        for name, about in run.provenance["metrics"].items():
            if name in described and described[name]["version"] != about["version"]:
                raise UsageError(
                    f"{name} has version {described[name]['version']!r} in one run and {about['version']!r} in "
                    f"{run.path}: run one of them again before you compare them"
                )
            described[name] = about
    return described


def _sources(runs: Sequence[Run]) -> dict[tuple[str, str], int]:
    """In how many runs each codec and dataset come."""
    counts: dict[tuple[str, str], int] = {}
    for run in runs:
        for key in run.rows[["codec", "dataset"]].drop_duplicates().itertuples(index=False, name=None):
            counts[key] = counts.get(key, 0) + 1
    return counts


def _notes(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(
        f"{run.path}: {run.provenance['state']}, so the table is not complete"
        for run in runs
        if run.provenance["state"] != "finished"
    )

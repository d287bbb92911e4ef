"""Measured beside published values of the field (published/field.yaml); do the original and Mimi agree with them?

A number that several sources state is one number, where they state the same to the digit (most of them copied it), and
a range with all its sources where they do not. Means are never taken over sources.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isnan
from typing import Any

import pandas as pd
import yaml

from evalkit.errors import UsageError
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Interval, Settings, summarize

from .against import BESIDE
from .cells import Cell, Column, Table
from .table import interval_cell, join

ABOUT = ("codec", "kbps", "set", "source", "kind", "note", "other", "copied")
"""Keys of a line of `values` that are no metric."""
COLUMNS = (
    *BESIDE,
    Column("sources", "source", words=True),
    Column("deviation", "deviation"),
)
SANITY_COLUMNS = (
    *BESIDE,
    Column("verdict", "agrees", words=True),
)


@dataclass(frozen=True)
class Stated:
    """One number of one source. `copied` says that it equals an earlier source's and was not measured again."""

    codec: str
    kbps: str
    set: str
    metric: str
    value: float
    source: str
    kind: str
    copied: bool


@cache
def field() -> dict[str, Any]:
    """field.yaml: sets, codecs, sanity, sources, values."""
    text = files("evalkit.reports").joinpath("published", "field.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@cache
def claims() -> tuple[Stated, ...]:
    """Every number whose definition is that of a row of evalkit, in the file's order."""
    return tuple(
        Stated(
            line["codec"], str(line.get("kbps", "")), line["set"], metric, float(value), line["source"], line["kind"],
            metric in line.get("copied", ()),
        )
        for line in field()["values"]
        for metric, value in line.items()
        if metric not in ABOUT
    )  # fmt: skip


def stated(codec: str, dataset: str, metric: str) -> list[Stated]:
    """What sources state, each different value once.

    Args:
        codec: As the run names it.
        dataset: Likewise.
        metric: Likewise.

    Returns:
        Numbers with their sources, the lowest first.
    """
    about = field()
    places = {key for key, one in about["sets"].items() if dataset in one["datasets"]}
    same = {(name, kbps) for name, rates in about["codecs"].items() for kbps, rows in rates.items() if codec in rows}
    found: dict[float, Stated] = {}
    for claim in claims():
        if (claim.codec, claim.kbps) in same and claim.set in places and claim.metric == metric and not claim.copied:
            found.setdefault(claim.value, claim)
    return [found[value] for value in sorted(found)]


def build_against_field(
    runs: Sequence[Run],
    metrics: Sequence[str] | None = None,
    settings: Settings = DEFAULTS,
    codecs: Sequence[str] | None = None,
) -> list[Table]:
    """What was measured beside published values of the field.

    Args:
        runs: What to read.
        metrics: Which metrics; by default all.
        settings: Of the intervals.
        codecs: Which codecs; by default all.

    Returns:
        A table for each dataset of which the field publishes: a line for each codec and metric.

    Raises:
        UsageError: No source states a number for these codecs, metrics and data.
    """
    tables = []
    for dataset, means, described in _means(runs, settings):
        lines: list[tuple[Cell, ...]] = []
        sources: dict[str, None] = {}
        for line in means.itertuples(index=False):
            if (metrics is not None and line.metric not in metrics) or (
                codecs is not None and line.codec not in codecs
            ):
                continue
            if not (numbers := stated(line.codec, dataset, line.metric)):
                continue
            low, high = numbers[0].value, numbers[-1].value
            deviation = line.mean - min(max(line.mean, low), high)
            published = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            digits = _about(described, line.metric)["decimals"]
            sources |= dict.fromkeys(one.source for one in numbers)
            lines.append(
                (
                    *_measured(line, described),
                    Cell(published, low if low == high else None),
                    Cell("; ".join(f"{one.source} ({one.kind})" for one in numbers)),
                    Cell(f"{deviation:+.{digits}f}" if deviation else "in the range" if low < high else "0", deviation),
                )
            )
        if lines:
            notes = (
                "A range means that sources contradict each other; the deviation is from its nearer end. Copied values "
                "count once; values with a different or unstated definition are not compared.",
                *_of_all(dataset, means),
                *(f"{key}: {field()['sources'][key]}." for key in sources),
            )
            tables.append(Table(f"{dataset} beside published values of the field", COLUMNS, tuple(lines), notes, 2))
    if not tables:
        known = [name for one in field()["sets"].values() for name in one["datasets"]]
        raise UsageError(
            "no source has a value for these codecs, metrics and data. The field's values are for the datasets "
            f"{', '.join(known)} and the codecs {', '.join(_rows())}"
        )
    return tables


def build_sanity(runs: Sequence[Run], settings: Settings = DEFAULTS) -> list[Table]:
    """Whether the original and Mimi give what the field agrees on, and so whether the pipeline measures what others
    measure.

    Args:
        runs: What to read.
        settings: Of the intervals.

    Returns:
        A table for each dataset.

    Raises:
        UsageError: No run has one of the two with one of those metrics.
    """
    tables = []
    for dataset, means, described in _means(runs, settings):
        whole = dataset in field()["sets"]["librispeech"]["datasets"]
        lines = []
        for check in field()["sanity"]:
            rows = field()["codecs"][check["codec"]][check["kbps"]]
            if not whole and not check.get("any_data"):
                continue
            for line in means[means["codec"].isin(rows) & (means["metric"] == check["metric"])].itertuples(index=False):
                agrees = abs(line.mean - check["value"]) <= check["within"]
                within = f"{check['value']:g} ± {check['within']:g}"
                lines.append(
                    (*_measured(line, described), Cell(within, check["value"]), Cell("yes" if agrees else "NO"))
                )
        if lines:
            wrong = sum(line[-1].text == "NO" for line in lines)
            verdict = f"{wrong} of {len(lines)} differ." if wrong else f"All {len(lines)} agree."
            notes = [verdict, *_of_all(dataset, means)]
            if not whole:
                notes.append("Values of Mimi, UTMOS and WER are known only for LibriSpeech test-clean.")
            title = f"{dataset}: the original and Mimi beside values of six sources"
            tables.append(Table(title, SANITY_COLUMNS, tuple(lines), tuple(notes), 2))
    if not tables:
        raise UsageError(
            "there is nothing to check: no run has the original (pcm@float32), or mimi@1.1k on LibriSpeech test-clean, "
            f"with one of {', '.join(dict.fromkeys(one['metric'] for one in field()['sanity']))}"
        )
    return tables


def _means(runs: Sequence[Run], settings: Settings) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """For each dataset: its name, its means that are known, and what the runs say of their metrics."""
    rows, described = join(runs)
    for dataset, part in rows.groupby("dataset", sort=False):
        means = summarize(part, settings)
        known = [not isnan(line.mean) and _about(described, line.metric) is not None for line in means.itertuples()]
        yield str(dataset), means[known], described


def _about(described: dict[str, Any], metric: str) -> Any:
    return described.get(metric, described.get(metric.removesuffix("-corpus")))


def _measured(line: Any, described: dict[str, Any]) -> tuple[Cell, ...]:
    about = _about(described, line.metric)
    corpus = "" if line.metric in described else " corpus"
    interval = Interval(line.ci_low, line.ci_high)
    return (
        Cell(line.codec),
        Cell(about["label"] + corpus),
        interval_cell(line.mean, interval, f".{about['decimals']}f"),
        Cell(str(line.n), line.n),
    )


def _of_all(dataset: str, means: pd.DataFrame) -> Iterator[str]:
    for about in field()["sets"].values():
        n = about.get("n")
        if dataset in about["datasets"] and n and means["n"].max() < n:
            yield f"Measured on {means['n'].max()} of the {n} utterances: the means are over different data."


def _rows() -> list[str]:
    return [row for rates in field()["codecs"].values() for rows in rates.values() for row in rows]

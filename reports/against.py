"""Measured beside published: the deviation, and whether the published value lies inside the measured interval."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

import pandas as pd

from evalkit.errors import UsageError
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Interval, Settings, summarize

from .published import Paper, Place, Published, nanocodec_paper
from .table import MISSING, Cell, Column, Table, interval_cell, join

BESIDE = (
    Column("codec", "Codec", words=True),
    Column("metric", "Metric", words=True),
    Column("measured", "measured", measured=True),
    Column("n", "n"),
    Column("published", "published"),
)
"""What every table of measured beside published numbers begins with."""
COLUMNS = (
    *BESIDE,
    Column("kind", "source", words=True),
    Column("deviation", "deviation"),
    Column("percent", "%"),
    Column("inside", "inside the interval", words=True),
)


def build_against_paper(
    runs: Sequence[Run],
    metrics: Sequence[str] | None = None,
    settings: Settings = DEFAULTS,
    codecs: Sequence[str] | None = None,
    paper: Paper | None = None,
) -> list[Table]:
    """What was measured beside what a paper's sources publish.

    Args:
        runs: What to read.
        metrics: Which metrics; by default all.
        settings: Of the intervals.
        codecs: Which codecs; by default all.
        paper: Which paper; by default the NanoCodec paper.

    Returns:
        A table for each dataset that is one of the paper's sets, or a part of one: a line for each number that a source
        states of a system and metric that were measured there.

    Raises:
        UsageError: No dataset is the paper's, or none of the codecs is a system of the paper.
    """
    paper = paper or nanocodec_paper()
    rows, described = join(runs)
    rows = rows[rows["metric"].isin(list(described))]
    rows = rows.assign(codec=rows["codec"].replace(paper.row_names(runs)))
    places = paper.places_of(runs)
    if not any(places.values()):
        sets = paper.names["sets"].values()
        known = [d for about in sets for d in (*about["datasets"], *about.get("subsets", {}))]
        raise UsageError(
            f"{paper.title} reports nothing for the data of these runs ({', '.join(places)}). "
            f"It reports on the datasets {', '.join(known)}."
        )
    tables = []
    for dataset, part in rows.groupby("dataset", sort=False):
        place = places.get(str(dataset))
        if place is not None:
            wanted = None if codecs is None else {paper.row_names(runs).get(codec, codec) for codec in codecs}
            chosen = part[part["codec"].isin(wanted)] if wanted is not None else part
            lines = tuple(_lines(chosen, described, paper, place, metrics, settings))
            if lines:
                tables.append(
                    Table(
                        f"{dataset} beside {paper.title}", COLUMNS, lines, tuple(_notes(paper, place, lines, chosen)), 2
                    )
                )
    if not tables:
        raise UsageError(
            "no source has a value for these codecs, metrics and data. Codecs are recognised by the names "
            + ", ".join(row for about in paper.names["systems"].values() for row in about["rows"])
        )
    return tables


def comparable(paper: Paper, place: Place, codec: str, metric: str) -> Iterator[Published]:
    """What the sources publish; this project's own measurements are not among it.

    Args:
        paper: Whose sources.
        place: Where the dataset stands among the paper's sets.
        codec: Of the run, by a name of the paper.
        metric: Of the run.

    Yields:
        Numbers, the most trusted source first.
    """
    system = paper.system_of(codec)
    columns = paper.names["metrics"]
    for number in paper.published:
        same = number.system == system and number.set == place.set and columns[number.metric]["metric"] == metric
        if same and number.kind != "re-measured" and number.mode is None:
            yield number


def _lines(
    rows: pd.DataFrame,
    described: dict[str, Any],
    paper: Paper,
    place: Place,
    metrics: Sequence[str] | None,
    settings: Settings,
) -> Iterator[tuple[Cell, ...]]:
    for line in summarize(rows, settings).itertuples(index=False):
        wanted = line.metric in described if metrics is None else line.metric in metrics
        if not wanted or isnan(line.mean):
            continue
        digits = described[line.metric]["decimals"]
        interval = Interval(line.ci_low, line.ci_high)
        for number in comparable(paper, place, line.codec, line.metric):
            deviation = line.mean - number.value
            percent = 100 * deviation / number.value
            yield (
                Cell(line.codec),
                Cell(described[line.metric]["label"]),
                interval_cell(line.mean, interval, f".{digits}f"),
                Cell(str(line.n), line.n),
                Cell(f"{number.value:g}", number.value),
                Cell(number.kind),
                Cell(f"{deviation:+.{digits}f}", deviation),
                Cell(f"{percent:+.1f}", percent),
                Cell((("no", "yes")[number.value in interval]) if interval.known else MISSING),
            )


def _notes(paper: Paper, place: Place, lines: Sequence[tuple[Cell, ...]], rows: pd.DataFrame) -> Iterator[str]:
    inside = [line[-1].text for line in lines]
    size = f" (n = {place.n})" if place.n else ""
    yield f"Published values are of {place.label}{size}; {inside.count('yes')} of {len(inside)} lie inside."
    n = rows["utterance"].nunique()
    if place.caution:
        yield (
            f"Measured on only a part of the data: {place.caution}. The interval covers random sampling of "
            f"utterances, not their selection: a value inside does not confirm the paper's mean, one outside does "
            f"not refute it."
        )
    elif place.n and n < place.n:
        yield f"Measured on {n} of the {place.n} utterances: the two means are over different data."
    for kind, source in dict.fromkeys((number.kind, number.source) for number in paper.published):
        if any(line[5].text == kind for line in lines):
            yield f"{kind}: {source}."

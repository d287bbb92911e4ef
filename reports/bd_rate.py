"""Families of codecs with several rates, compared by Bjontegaard's delta rate."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import UndefinedScore, UsageError
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings, by_utterance
from evalkit.stats.bjontegaard import bd_rate_interval

from .cells import MISSING, Cell, Column, Table
from .figures import family
from .plots import bitrates
from .table import join, ranks

COLUMNS = (
    Column("anchor", "Anchor", words=True),
    Column("test", "Test", words=True),
    Column("metric", "Metric", words=True),
    Column("bd", "BD-rate %"),
    Column("low", "low"),
    Column("high", "high"),
    Column("n", "n"),
    Column("remark", "remark", words=True, prose=24),
)


def build_bd_rates(
    runs: Sequence[Run],
    metrics: Sequence[str] | None = None,
    settings: Settings = DEFAULTS,
    anchor: str | None = None,
) -> list[Table]:
    """A table for each dataset with a line for every two families and each metric that ranks codecs.

    Args:
        runs: What to read.
        metrics: Which metrics; by default all that rank codecs.
        settings: Level and clusters of the intervals.
        anchor: The family that all others are held to; by default each of every two.

    Raises:
        UsageError: no two families have two rates or more, or there are two columns of clusters.
    """
    rows, described = join(runs)
    wanted = [m for m, about in described.items() if ranks(m, about) and (metrics is None or m in metrics)]
    tables = []
    for dataset, part in rows.groupby("dataset", sort=False):
        rated = {codec: rate for codec, rate in bitrates(part).items() if not np.isnan(rate)}
        families: dict[str, list[str]] = {}
        for codec in rated:
            families.setdefault(family(codec), []).append(codec)
        several = [name for name, members in families.items() if len(members) > 1]
        pairs = list(combinations(several, 2)) if anchor is None else [(anchor, n) for n in several if n != anchor]
        if not pairs or (anchor is not None and anchor not in several):
            continue
        if len(settings.columns) > 1:
            raise UsageError(f"the bootstrap resamples clusters of one column, not of {settings.cluster}")
        values, clusters = by_utterance(part[part["utterance"] != CORPUS], settings.cluster)
        drawn = pd.Series(values.index if clusters is None else clusters, values.index, dtype=str)
        lines = [
            _line(pair, families, rated, values.xs(metric, axis=1, level="metric"), drawn, described[metric], settings)
            for pair in pairs
            for metric in wanted
            if metric in values.columns.get_level_values("metric")
        ]
        over = f"clusters of one {settings.cluster}" if settings.cluster else "utterances"
        notes = (
            "BD-rate: how many percent more bits the test needs than the anchor for the same quality, where both reach "
            f"it; negative is fewer. low, high: {settings.level:.0%} interval of a bootstrap over {over}.",
        )
        tables.append(Table(str(dataset), COLUMNS, tuple(lines), notes, keys=3))
    if not tables:
        raise UsageError("BD-rate needs two or more codec families (NAME@RATE) with at least two measured rates each")
    return tables


def _line(
    pair: tuple[str, str],
    families: Mapping[str, list[str]],
    rated: Mapping[str, float],
    values: pd.DataFrame,
    drawn: "pd.Series[str]",
    about: Mapping[str, Any],
    settings: Settings,
) -> tuple[Cell, ...]:
    sign = 1.0 if about["direction"] == "up" else -1.0
    present = [[codec for codec in families[name] if codec in values] for name in pair]
    both = values[[codec for codecs in present for codec in codecs]].dropna()
    first, second = (np.array([rated[codec] for codec in codecs]) for codecs in present)
    quality, other = (sign * both[codecs].to_numpy(float) for codecs in present)
    head = (Cell(pair[0]), Cell(pair[1]), Cell(about["label"]))
    n = Cell(str(len(both)), len(both))
    try:
        if both.empty:
            raise UndefinedScore("no utterance has values at every bitrate")
        found = bd_rate_interval((first, second), (quality, other), list(drawn[both.index]), settings.level)
    except UndefinedScore as error:
        return (*head, Cell(MISSING), Cell(MISSING), Cell(MISSING), n, Cell(str(error)))
    cells = [Cell(MISSING) if np.isnan(value) else Cell(f"{value:+.1f}", value) for value in found]
    return (*head, *cells, n, Cell("" if not np.isnan(found[1]) else "too few draws with overlapping quality"))

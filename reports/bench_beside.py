"""Runs and benches together: what a codec costs, beside how good it is, in tables and as plots."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.bench.directory import Bench, is_bench, read_bench, setting
from evalkit.results.rows import CLEAN, CORPUS
from evalkit.results.run import Run, read_run
from evalkit.stats import DEFAULTS, Settings

from . import escape
from .bench_reader import NOT_MEASURED, Found, Reader, cell
from .cells import MISSING, Column, Table
from .figures import SIZES
from .plots import rate_quality
from .table import join

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COSTS: tuple[tuple[Column, int, Callable[[Reader, str], Found]], ...] = (
    (
        Column("parameters", "parameters (M)"), 1,
        lambda reader, codec: _scaled(reader.find(codec, "both", "parameters", kind="counted"), 1e-6),
    ),
    (Column("gmac", "GMAC/s"), 1, lambda reader, codec: _both_ways(reader, codec)),
    (Column("rtf-encode", "RTF enc (processing/audio)"), 3, lambda reader, codec: reader.find(codec, "encode", "rtf")),
    (Column("rtf-decode", "RTF dec (processing/audio)"), 3, lambda reader, codec: reader.find(codec, "decode", "rtf")),
    (
        Column("latency", "algorithmic latency (ms)"), 1,
        lambda reader, codec: reader.find(codec, "both", "latency", setting(level="0")),
    ),
)  # fmt: skip
"""What stands beside quality: column, decimals, and where it is found."""


def read_all(paths: Sequence[Path]) -> tuple[list[Run], list[Bench]]:
    """Read directories of either kind.

    Args:
        paths: Of runs and benches.

    Returns:
        The runs, and the benches.

    Raises:
        UsageError: One is neither.
    """
    benches = [path for path in paths if is_bench(path)]
    return [read_run(path) for path in paths if path not in benches], [read_bench(path) for path in benches]


def beside(tables: Sequence[Table], benches: Sequence[Bench]) -> list[Table]:
    """Add what codecs cost to tables about them.

    Args:
        tables: Of codecs.
        benches: What to read.

    Returns:
        The tables, with columns for what the benches have.
    """
    if not benches:
        return list(tables)
    readers = [Reader(bench) for bench in benches]
    return [_widened(table, readers) for table in tables]


def _widened(table: Table, readers: Sequence[Reader]) -> Table:
    codecs = [row[0].text for row in table.rows]
    columns, cells, random = [], [], False
    for column, decimals, find in COSTS:
        found = [_first(readers, codec, find) for codec in codecs]
        made = [replace(cell(one, decimals), interval="", bounds=None) for one, _ in found]
        random |= any(drawn for one, drawn in found if one.value is not None)
        if any(one.text != MISSING for one in made):
            columns.append(column)
            cells.append(made)
    rows = tuple((*row, *(made[line] for made in cells)) for line, row in enumerate(table.rows))
    notes = [
        "Cost: "
        + "; ".join(str(reader.bench.path) for reader in readers)
        + ". `evalkit table` on them shows intervals."
    ]
    if random:
        notes.append("Some values were measured with random weights of the released size, which do not affect it.")
    return replace(
        table, columns=(*table.columns, *columns), rows=rows, notes=(*table.notes, *notes) if cells else table.notes
    )


def _first(
    readers: Sequence[Reader], codec: str, find: Callable[[Reader, str], Found]
) -> tuple[Found, bool]:  # fmt: skip
    """What the first bench that knows `codec` says, and whether its weights were random there. Audio that a codec
    rendered elsewhere goes by its name; weights from a file do not, since they may be of another size."""
    for name in dict.fromkeys((codec, codec.removesuffix(" (rendered)"))):
        for reader in readers:
            found = find(reader, name) if name in reader.codecs else Found(None)
            if found.value is not None or found.reason not in ("", NOT_MEASURED):
                return found, reader.weights(name) == "random"
    return Found(None), False


def _scaled(found: Found, factor: float) -> Found:
    return found if found.value is None else Found(found.value * factor)


def _both_ways(reader: Reader, codec: str) -> Found:
    ways = [reader.find(codec, stage, "gmac", kind="counted").value for stage in ("encode", "decode")]
    return Found(None) if None in ways else Found(sum(way for way in ways if way is not None))


PLOTS: tuple[tuple[str, tuple[str, str], Callable[[Reader, str], Found]], ...] = (
    ("latency", ("algorithmic latency", "ms"), COSTS[4][2]),
    ("compute", ("encoder and decoder compute", "GMAC/s"), COSTS[1][2]),
)


def bench_plots(
    runs: Sequence[Run], benches: Sequence[Bench], settings: Settings = DEFAULTS, size: str = "one"
) -> Iterator[tuple[str, "Figure"]]:
    """Quality over latency and over compute.

    Args:
        runs: What says how good codecs are.
        benches: What says what they cost.
        settings: Of the intervals.
        size: A key of SIZES.

    Yields:
        File name without suffix, and figure: for each dataset and metric with a better end, of the codecs that both a
        run and a bench have.
    """
    if not runs or not benches:
        return
    readers = [Reader(bench) for bench in benches]
    rows, described = join(runs, apart=False)
    for dataset, part in rows[rows["condition"] == CLEAN].groupby("dataset", sort=False):
        part = part[part["utterance"] != CORPUS].dropna(subset="value")
        for metric, about in described.items():
            values = part[part["metric"] == metric]
            if about["direction"] == "none" or values.empty:
                continue
            for key, over, find in PLOTS:
                places = {str(codec): _first(readers, str(codec), find)[0].value for codec in values["codec"].unique()}
                known = {codec: place for codec, place in places.items() if place}
                if known:
                    figure = rate_quality(values, known, about, settings, SIZES[size], over)
                    yield escape.file_name(f"{dataset}-{metric}") + f"-{key}", figure

"""How far two variants of a metric are apart on the same audio: whether a faster one may stand for the other."""

from collections.abc import Sequence

from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings, by_utterance, mean_interval

from .table import Cell, Column, Table, join


def build_drift(runs: Sequence[Run], first: str, second: str, settings: Settings = DEFAULTS) -> list[Table]:
    """Two variants of a metric beside each other.

    Args:
        runs: What to read.
        first: A metric.
        second: Another.
        settings: Of the intervals.

    Returns:
        A table for each dataset: for each codec the means of both over the utterances that have both, the mean of
        second - first with its interval, the largest difference of an utterance and the share of utterances that differ
        by more than a unit of the last digit shown; and whether the order of the codecs is the same by both.

    Raises:
        UsageError: As `join`, and where no codec has both metrics.
    """
    rows, described = join(runs)
    rows = rows[(rows["utterance"] != CORPUS) & rows["metric"].isin(list(described))]
    for name in (first, second):
        if name not in set(rows["metric"]):
            raise UsageError(f"no run has {name!r}. There are: {', '.join(dict.fromkeys(rows['metric']))}.")
    decimals = described[first]["decimals"]
    columns = (
        Column("codec", "Codec", words=True),
        Column("first", first),
        Column("second", second),
        Column("difference", "difference", measured=True),
        Column("largest", "largest"),
        Column("differ", "% differ"),
        Column("n", "n"),
    )
    tables = []
    for dataset, part in rows.groupby("dataset", sort=False):
        values, clusters = by_utterance(part[part["metric"].isin([first, second])], settings.cluster)
        lines, means = [], []
        for codec in part["codec"].drop_duplicates():
            if (codec, first) not in values or (codec, second) not in values:
                continue
            both = values[[(codec, first), (codec, second)]].dropna()
            if both.empty:
                continue
            a, b = both.mean()
            differences = values[(codec, second)] - values[(codec, first)]
            (interval,) = mean_interval(differences.to_frame(), clusters, settings.level)
            bounds = f"[{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]" if interval.known else ""
            known = differences.dropna()
            share = 100 * float((known.abs() >= 10**-decimals).mean())
            lines.append(
                (
                    Cell(str(codec)), _number(a, decimals), _number(b, decimals),
                    Cell(f"{b - a:+.{decimals}f}", b - a, interval=bounds, bounds=interval if interval.known else None),
                    _number(float(known.abs().max()), decimals), _number(share, 1), Cell(str(len(known)), len(known)),
                )
            )  # fmt: skip
            means.append((a, b))
        if lines:
            same = sorted(means, key=lambda pair: pair[0]) == sorted(means, key=lambda pair: pair[1])
            note = f"Order of the codecs by {first} and by {second}: {'the same' if same else 'not the same'}."
            notes = (note,) if len(means) > 1 else ()
            tables.append(Table(f"{dataset}: {second} against {first}", columns, tuple(lines), notes))
    if not tables:
        raise UsageError(f"no codec has both {first} and {second}")
    return tables


def _number(value: float, decimals: int) -> Cell:
    return Cell(f"{value:.{decimals}f}", value)

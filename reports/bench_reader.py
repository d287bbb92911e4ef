"""Numbers of a bench by codec, way and quantity: medians over rounds, and ratios of two codecs paired by round."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from evalkit.bench.directory import MACHINE, WHOLE, Bench, setting
from evalkit.bench.ratios import median, ratio
from evalkit.stats.means import UNKNOWN, Interval

from .cells import MISSING, Cell, interval_cell

WAYS = {"encode": "enc", "decode": "dec"}
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Found:
    """A number of one codec; None, and why, where there is none."""

    value: float | None
    interval: Interval = UNKNOWN
    reason: str = ""


def paired(first: Any, second: Any) -> Found:
    """The median ratio of two Series by round, with its interval; None where they share no round."""
    both = first.index.intersection(second.index)
    return Found(None) if both.empty else Found(*ratio(first[both].to_numpy(), second[both].to_numpy()))


class Reader:
    """Looks numbers up in one bench."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        rows = bench.rows[bench.rows["codec"] != MACHINE]
        measured = list(rows["codec"].drop_duplicates())
        named = [codec for codec in bench.provenance["codecs"] if codec in measured]
        self.codecs: list[str] = [*named, *(codec for codec in measured if codec not in named)]
        """As they were named: the first is what the others' ratios are to."""
        keys = ["codec", "stage", "quantity", "setting", "batch", "kind"]
        self._groups: dict[Any, pd.DataFrame] = dict(list(rows.groupby(keys, sort=False)))
        self.rows = rows

    def weights(self, codec: str) -> str:
        """`random`, `own` or ""."""
        return str(self.bench.provenance["codecs"].get(codec, {}).get("weights", ""))

    def rounds(
        self, codec: str, stage: str, quantity: str, where: str = "", batch: int = 1, kind: str = "measured"
    ) -> Any:
        """Values by round.

        Args:
            codec: As the bench names it.
            stage: Which way through the codec.
            quantity: A key of QUANTITIES.
            where: The setting.
            batch: Utterances at once.
            kind: How the numbers came about.

        Returns:
            A Series by round; empty where there are none.
        """
        group = self._groups.get((codec, stage, quantity, where, batch, kind))
        if group is None:
            return pd.Series(dtype="float64")
        return group.dropna(subset="value").set_index("round")["value"]

    def find(
        self, codec: str, stage: str, quantity: str, where: str = "", batch: int = 1, kind: str = "measured"
    ) -> Found:
        """The number, or the median over rounds.

        Args:
            codec: As the bench names it.
            stage: Which way through the codec.
            quantity: A key of QUANTITIES.
            where: The setting.
            batch: Utterances at once.
            kind: How the number came about.

        Returns:
            The number with its interval, or the reason why there is none.
        """
        group = self._groups.get((codec, stage, quantity, where, batch, kind))
        if group is None:
            return Found(None, reason=NOT_MEASURED)
        values = group["value"].dropna()
        if values.empty:
            return Found(None, reason=str(group["reason"].iloc[0]))
        middle, interval = median(values)
        return Found(middle, interval if len(values) > 1 else UNKNOWN)

    def ratio(self, codec: str, to: str, *about: Any, **more: Any) -> Found:
        """How many times as much one codec takes as another, paired by round.

        Args:
            codec: As the bench names it.
            to: The other.
            *about: As for `rounds`, from `stage` on.
            **more: Likewise.

        Returns:
            The median ratio with its interval.
        """
        return Found(None) if codec == to else paired(*(self.rounds(name, *about, **more) for name in (codec, to)))

    def causal(self, codec: str) -> str:
        """Whether the decoder needs no frames to come, as measured, and whether its adapter says so."""
        found = self.find(codec, "decode", "lookahead", setting(level="0"))
        if found.value is None and found.reason != WHOLE:
            return MISSING
        frame = self.find(codec, "both", "frame").value or 1.0
        measured = found.value is not None and found.value < frame
        declared = self.bench.provenance["codecs"].get(codec, {}).get("causal")
        words = "yes" if measured else "no"
        return words if measured == declared else f"{words}, but declared {'yes' if declared else 'no'}"


def inverse(found: Found) -> Found:
    """1 / the number."""
    if not found.value:
        return Found(None, reason=found.reason)
    return Found(1 / found.value, Interval(1 / found.interval.high, 1 / found.interval.low))


def cell(found: Found, decimals: int, scale: float = 1.0) -> Cell:
    """A number in a table.

    Args:
        found: What a bench has.
        decimals: Digits after the point.
        scale: What the number is multiplied by.

    Returns:
        The number with its interval.
    """
    if found.value is None:
        return Cell("whole" if found.reason == WHOLE else MISSING)
    interval = Interval(found.interval.low * scale, found.interval.high * scale)
    return interval_cell(found.value * scale, interval, f".{decimals}f")


def place(bench: Bench) -> str:
    """On what it was measured."""
    about = bench.provenance
    if gpu := about.get("torch", {}).get("gpu"):
        return str(gpu)
    return f"{about.get('processor', 'processor unknown')}, {about['threads']} thread{'s' * (about['threads'] > 1)}"


def notes_of(bench: Bench) -> list[str]:
    """What a reader of its numbers has to know."""
    state = bench.provenance["state"]
    cut = [] if state == "finished" else [f"{bench.path}: {state}, so the table is incomplete."]
    return cut + list(bench.provenance["notes"])

"""A finished table, for any renderer (terminal.py, render.py, page.py): what is in its cells, not how they look."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.stats import Interval

ARROWS = {"up": "↑", "down": "↓", "none": ""}
"""By the better end of a metric."""
MISSING = "–"
TIE = "≈"
"""Marks values that are statistically indistinguishable from the best."""


@dataclass(frozen=True)
class Cell:
    """`text` as shown; `value` for those who compute with it. `interval` is the text of its bounds, `bounds` their
    values; `tied` says that the value is not the best, and that the test cannot tell it from the best."""

    text: str
    value: float | None = None
    best: bool = False
    interval: str = ""
    bounds: "Interval | None" = None
    tied: bool = False
    second: bool = False
    """Whether it is the second best of its column, where that was asked for."""


def interval_cell(value: float, interval: "Interval", form: str) -> Cell:
    """A number with its interval, where that is known.

    Args:
        value: The number.
        interval: Its bounds.
        form: The format specification of both, such as `.3f`.

    Returns:
        The cell.
    """
    if not interval.known:
        return Cell(format(value, form), value)
    bounds = f"[{interval.low:{form}}, {interval.high:{form}}]"
    return Cell(format(value, form), value, interval=bounds, bounds=interval)


@dataclass(frozen=True)
class Column:
    """`label` without and `arrow` with the direction in which the metric gets better."""

    key: str
    label: str
    arrow: str = ""
    measured: bool = False
    """Whether its cells are means of a metric, with intervals."""
    words: bool = False
    """Whether its cells are words, not numbers. Names, unless they are prose."""
    prose: int = 0
    """Characters of a line that its sentences need to read well; 0 for names and numbers, which never break."""

    @property
    def head(self) -> str:
        """What stands above the column."""
        return f"{self.label} {self.arrow}".strip()


@dataclass(frozen=True)
class Table:
    """Columns, rows of as many cells, and what a reader of them has to know."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    keys: int = 1
    """Columns from the left that say what a row is about."""

"""A Table as text that other programs read: Markdown, LaTeX (latex.py) and CSV. On a terminal: terminal.py."""

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from evalkit import plugins

from . import escape
from .cells import TIE, Cell, Table


def markdown(table: Table) -> str:
    """GitHub's Markdown; the best of each column in bold, what is indistinguishable from it marked."""

    def show(cell: Cell) -> str:
        text = escape.markdown(cell.text)
        text = f"**{text}**" if cell.best else f"*{text}*" if cell.second else text
        return " ".join(filter(None, [text, cell.interval, TIE if cell.tied else ""]))

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    head = line([escape.markdown(column.head) for column in table.columns])
    rule = "|" + "|".join(" --- " if column.words else " ---: " for column in table.columns) + "|"
    body = [line([show(cell) for cell in row]) for row in table.rows]
    notes = [f"\n{escape.markdown(note)}" for note in table.notes]
    return "\n".join([f"**{escape.markdown(table.title)}**", "", head, rule, *body, *notes]) + "\n"


def comma_separated(table: Table) -> str:
    """CSV with unrounded values and empty cells where there is none; the column `dataset` comes first.

    Each metric M brings the columns M.low and M.high, the bounds of its interval, and M.tied, "yes" where it is not
    distinguishable from the best."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["dataset"]
    for column in table.columns:
        head.append(escape.csv_cell(column.key))
        head += [escape.csv_cell(f"{column.key}.{part}") for part in ("low", "high", "tied")] if column.measured else []
    writer.writerow(head)
    for row in table.rows:
        cells: list[object] = [escape.csv_cell(table.title)]
        for column, cell in zip(table.columns, row, strict=True):
            words = escape.csv_cell(cell.text)
            cells.append(words if column.words else "" if cell.value is None else cell.value)
            if column.measured:
                bounds = ["", ""] if cell.bounds is None else [cell.bounds.low, cell.bounds.high]
                cells += [*bounds, "yes" if cell.tied else ""]
        writer.writerow(cells)
    return out.getvalue()


class _Formats(Mapping[str, Callable[[Table], str]]):
    def __getitem__(self, name: str) -> Callable[[Table], str]:
        form: Callable[[Table], str] = plugins.load("format", name)
        return form

    def __iter__(self) -> Iterator[str]:
        return iter(plugins.names("format"))

    def __len__(self) -> int:
        return len(plugins.names("format"))


FORMATS = _Formats()
"""What turns a table into text, by name: the entry points of the group `evalkit.formats`."""

HIGHLIGHTS = ("best", "second")


def highlight(table: Table, what: Collection[str]) -> Table:
    """Mark the best of each metric and the second (in Markdown: in italics). Values that print alike share a mark; one
    that must not rank (†) gets none.

    Args:
        table: Of codecs.
        what: Of `best` and `second`.

    Returns:
        The table with its marks.
    """
    seconds = [_second(table, position) for position in range(len(table.columns))]
    rows = tuple(
        tuple(
            replace(cell, best=cell.best and "best" in what, second="second" in what and cell.text == second)
            for cell, second in zip(row, seconds, strict=True)
        )
        for row in table.rows
    )
    return replace(table, rows=rows)


def _second(table: Table, position: int) -> str | None:
    """The text of the second best of a metric's column; None where there is none."""
    cells = [row[position] for row in table.rows]
    if not any(cell.best for cell in cells):
        return None
    rest = [c for c in cells if c.value is not None and not c.best and "†" not in c.text]
    best = max if table.columns[position].arrow == "↑" else min
    return best(rest, key=lambda cell: cell.value or 0.0).text if rest else None

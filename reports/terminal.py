"""Tables and sentences on a terminal: names, numbers and commands are never cut or broken.

A table that is too wide wraps its prose, then its heads; then it is grouped by its leading columns, or split into
tables that stand below each other; where even that does not fit, each row becomes a list of its cells.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .cells import TIE, Cell, Column, Table
from .escape import terminal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

GAP = 2
"""Characters between columns."""


def rich_table(table: Table) -> "RenderableType":
    """For rich's console; the notes are left to the caller."""
    return _Fitted(table)


def fitting(table: Table, width: int) -> list[Table]:
    """A table as tables that fit, as far as its longest name allows.

    Args:
        table: Any.
        width: Characters.

    Returns:
        One or more.
    """
    if needs(table) <= width or not table.rows:
        return [table]
    if 1 < table.keys < len(table.columns):
        parts = groups(table)
        names = _only(table, range(table.keys))
        if len(parts) <= len(table.rows) / 2 or _needs(*names) > width / 2:
            return [part for group in parts for part in fitting(group, width)]
    found = [_only(table, positions) for positions in split(table, width)]
    if any(_needs(*part) > width for part in found):
        return [_record(table, row, first=row is table.rows[0]) for row in table.rows]
    titles = [table.title, *[""] * (len(found) - 1)]
    return [replace(table, title=t, columns=c, rows=rows) for t, (c, rows) in zip(titles, found, strict=True)]


def groups(table: Table) -> list[Table]:
    """A table for all rows that are alike in all keys but the last; those stand in its title, and their short labels in
    place of their names in its cells."""
    keys = table.keys - 1
    heads = [column.label for column in table.columns[:keys]]
    found: dict[tuple[str, ...], list[tuple[Cell, ...]]] = {}
    for row in table.rows:
        found.setdefault(tuple(cell.text for cell in row[:keys]), []).append(row)
    tables = []
    for names, rows in found.items():
        title = f"{table.title}: " + ", ".join(f"{head} {name}" for head, name in zip(heads, names, strict=True))
        short = {name: head for head, name in zip(heads, names, strict=True) if len(head) == 1}
        cells = tuple(tuple(replace(cell, text=short.get(cell.text, cell.text)) for cell in row[keys:]) for row in rows)
        tables.append(Table(title, table.columns[keys:], cells))
    return tables


def split(table: Table, width: int) -> list[list[int]]:
    """Which columns stand together in tables that fit: as many tables as it takes, and all of them about as wide. A
    column that does not fit beside the keys stands alone with them.

    Args:
        table: Any.
        width: Characters.

    Returns:
        Positions of the columns of each table, the keys in each.
    """
    keys = list(range(table.keys))

    def parts(width: int) -> list[list[int]]:
        found = [keys]
        for position in range(len(keys), len(table.columns)):
            wider = [*found[-1], position]
            if len(found[-1]) > len(keys) and _needs(*_only(table, wider)) > width:
                found.append([*keys, position])
            else:
                found[-1] = wider
        return found

    best = parts(width)
    for narrower in range(width - 1, 0, -1):
        found = parts(narrower)
        if len(found) > len(best) or any(_needs(*_only(table, part)) > narrower for part in found):
            break
        best = found
    return best


def wrap(text: str, width: int) -> list[str]:
    """Text in lines, broken at spaces only: what has none is a name, a path or a part of a command, and stays whole. An
    arrow stays with the word before it.

    Args:
        text: Any.
        width: Characters.

    Returns:
        The lines.
    """
    from rich.cells import cell_len

    lines: list[str] = []
    for word in re.split(r" (?![↑↓≈](?: |$))", text):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _record(table: Table, row: Sequence[Cell], first: bool) -> Table:
    """One row as a table of two columns: what, and its value. The `first` one has the title."""
    columns = (Column("what", "", words=True), Column("value", "", words=True, prose=24))
    lines = [
        (Cell(column.head), replace(cell, text=" ".join(filter(None, [cell.text, cell.interval])), interval=""))
        for column, cell in zip(table.columns, row, strict=True)
    ]
    return Table(table.title if first else "", columns, tuple(lines))


def _only(table: Table, positions: Sequence[int]) -> tuple[tuple[Column, ...], tuple[tuple[Cell, ...], ...]]:
    rows = tuple(tuple(row[position] for position in positions) for row in table.rows)
    return tuple(table.columns[position] for position in positions), rows


def needs(table: Table) -> int:
    """The fewest characters that `table` takes from left to right."""
    return _needs(table.columns, table.rows)


def _needs(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> int:
    return sum(low for low, _ in _widths(columns, rows)) + GAP * (len(columns) - 1)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[tuple[int, int]]:
    """The smallest width of each column, and the one that breaks no line."""
    from rich.cells import cell_len

    found = []
    for position, column in enumerate(columns):
        cells = [row[position] for row in rows]
        whole = max((cell_len(line) for cell in cells for line in _lines(cell)), default=0)
        if column.prose:
            words = (cell_len(word) for cell in cells for word in terminal(cell.text).split(" "))
            least = min(whole, max(column.prose, *words)) if cells else 0
        else:
            least = whole
        head = terminal(column.head)
        longest = max(cell_len(line) for line in wrap(head, 1))
        found.append((max(least, longest), max(whole, cell_len(head))))
    return found


def _lines(cell: Cell) -> list[str]:
    """What stands in `cell`, one below the other."""
    text = terminal(cell.text) + (f" {TIE}" if cell.tied else "")
    return [text, cell.interval] if cell.interval else [text]


class _Fitted:
    """A table that fills the width of the console that it is printed on no more than it must."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.text import Text

        columns = self.table.columns
        if self.table.title:
            yield Text("\n".join(wrap(terminal(self.table.title), options.max_width)), "bold")
        widths = shares(self.table, options.max_width)
        heads = [wrap(terminal(column.head), width) for column, width in zip(columns, widths, strict=True)]
        if any(map(any, heads)):
            height = max(map(len, heads))
            below = [[""] * (height - len(lines)) + lines for lines in heads]
            yield _side_by_side([[Text(line, "bold") for line in lines] for lines in below], columns, widths)
            yield Text(("-" if options.ascii_only else "─") * (sum(widths) + GAP * (len(widths) - 1)))
        tied = [any(row[position].tied for row in self.table.rows) for position in range(len(columns))]
        for row in self.table.rows:
            yield _side_by_side(list(map(_show, row, columns, widths, tied)), columns, widths)
        yield Text("")


def _side_by_side(cells: "Sequence[Sequence[Text]]", columns: Sequence[Column], widths: Sequence[int]) -> "Text":
    """The lines of one row's `cells`, each cell in its column: words to the left, numbers to the right."""
    from rich.text import Text

    lines = []
    for position in range(max(map(len, cells))):
        line = Text()
        for cell, column, width in zip(cells, columns, widths, strict=True):
            text = cell[position] if position < len(cell) else Text()
            space = " " * (width - text.cell_len)
            line.append_text(text).append(space) if column.words else line.append(space).append_text(text)
            line.append(" " * GAP)
        line.rstrip()
        lines.append(line)
    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def shares(table: Table, width: int) -> list[int]:
    """The width of each column: what it wants where that fits, else prose gets what the others leave.

    Args:
        table: Any.
        width: Characters.

    Returns:
        Characters.
    """
    widths = _widths(table.columns, table.rows)
    left = width - GAP * (len(widths) - 1) - sum(low for low, _ in widths)
    found = [low for low, _ in widths]
    for wants_prose in (False, True):
        for position, (low, high) in enumerate(widths):
            if bool(table.columns[position].prose) == wants_prose and high > low and left > 0:
                more = min(high - low, left)
                found[position] += more
                left -= more
    return found


def _show(cell: Cell, column: Column, width: int, ties: bool) -> "list[Text]":
    """The lines of `cell`. Where some in its column have a mark (`ties`), the others leave room for one."""
    from rich.text import Text

    text = terminal(cell.text)
    style = "bold" if cell.best else "underline" if cell.second else ""
    lines = [Text(line, style) for line in (wrap(text, width) if column.prose else [text])]
    if ties:
        lines = [Text.assemble(line, f" {TIE}" if cell.tied else "  ") for line in lines]
    return [*lines, Text(cell.interval, "dim")] if cell.interval else lines

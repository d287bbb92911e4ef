"""Tables that show themselves: text on a terminal, HTML in a notebook."""

from collections.abc import Sequence
from html import escape

import pandas as pd

from .cells import Cell, Table
from .render import FORMATS


class Shown(Sequence[Table]):
    """Tables of a run."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tuple(tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._tables[index]

    @property
    def frames(self) -> list[pd.DataFrame]:
        """A DataFrame for each table: numbers as numbers, words as words."""
        return [
            pd.DataFrame(
                [[cell.text if cell.value is None else cell.value for cell in row] for row in table.rows],
                columns=[column.label for column in table.columns],
            )
            for table in self._tables
        ]

    def __str__(self) -> str:
        return "\n".join(FORMATS["markdown"](table) for table in self._tables)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(_html(table) for table in self._tables)


def _html(table: Table) -> str:
    head = "".join(f"<th>{escape(column.head)}</th>" for column in table.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    return f"<table><caption>{escape(table.title)}</caption><tr>{head}</tr>{body}</table>{notes}"


def _cell(cell: Cell) -> str:
    text = escape(cell.text) + (" ≈" if cell.tied else "")
    bounds = f" <small>{escape(cell.interval)}</small>" if cell.interval else ""
    return f"<td>{f'<b>{text}</b>' if cell.best else text}{bounds}</td>"

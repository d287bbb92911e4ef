"""Printing tables, listings and JSON, and writing files that a command names."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.reports.cells import Table

WIDE = 200
"""Characters in a line where no terminal says how many there are: a file or a pipe."""


def show(tables: "Sequence[Table]", form: str) -> None:
    """Print `tables` as --format says."""
    from evalkit.reports.render import FORMATS

    if form == "terminal":
        print_tables(tables)
    else:
        print("\n".join(FORMATS[form](table) for table in tables), end="")


def print_tables(tables: "Sequence[Table]") -> None:
    """Print `tables` for people, as wide as the terminal."""
    from rich.console import Console

    from evalkit.reports.terminal import fitting, needs, rich_table

    # COLUMNS, which rich reads, stands for a terminal that is not there.
    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
    for table in tables:
        for part in fitting(table, console.width):
            console.print(rich_table(part), width=max(console.width, needs(part)), crop=False)
        print_lines(table.notes, console)


def print_lines(lines: Sequence[str], console: Any = None) -> None:
    """Print sentences that break into lines at spaces only, so that what is in them can be copied."""
    from rich.console import Console
    from rich.text import Text

    from evalkit.reports.escape import terminal
    from evalkit.reports.terminal import wrap

    console = console or Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)
    for line in lines:
        console.print(Text("\n".join(wrap(terminal(line), console.width)), style="dim"), soft_wrap=True)


def print_listing(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a plain listing for people."""
    from evalkit.reports.cells import Cell, Column, Table

    heads = tuple(Column(name, name, words=True) for name in columns)
    cells = tuple(tuple(Cell("" if value is None else str(value)) for value in row) for row in rows)
    print_tables([Table("", heads, cells)])


def print_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a listing for programs."""
    import json

    # What JSON writes in ASCII any stream can take.
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2, ensure_ascii=ascii_only))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`; raises UsageError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error

"""Printing tables, listings and JSON, and writing files that a command names."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.reports.table import Table


def show(tables: "Sequence[Table]", form: str) -> None:
    """Print `tables` as --format says."""
    from evalkit.reports.render import FORMATS

    if form == "terminal":
        print_tables(tables)
    else:
        print("\n".join(FORMATS[form](table) for table in tables), end="")


def print_tables(tables: "Sequence[Table]") -> None:
    """Print `tables` for people, split to the width of the terminal."""
    from rich.console import Console

    from evalkit.reports.render import fitting, rich_table

    # A file or a pipe has no width to fit: the table gets all that it needs there.
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in tables:
        for part in fitting(table, console.width):
            console.print(rich_table(part))
        for note in table.notes:
            console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def print_listing(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a plain listing for people."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a listing for programs."""
    import json

    print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`; raises UsageError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error

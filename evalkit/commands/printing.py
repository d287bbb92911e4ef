"""Printing tables, listings and JSON, and writing files that a command names."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from evalkit.reports.cells import Table

WIDE = 200
"""Characters in a line where no terminal says how many there are: a file or a pipe."""
INDENT = "  "


def show(tables: "Sequence[Table]", form: str) -> None:
    """Print `tables` as --format says."""
    from evalkit.reports.render import FORMATS

    if form == "terminal":
        print_tables(tables)
    else:
        print("\n".join(FORMATS[form](table) for table in tables), end="")


def print_tables(tables: "Sequence[Table]") -> None:
    """Print `tables` for people, as wide as the terminal."""
    from evalkit.reports.terminal import fitting, needs, rich_table

    console = _console()
    for table in tables:
        if not table.rows:
            print_lines([table.title])
        for part in fitting(table, console.width) if table.rows else ():
            console.print(rich_table(part), width=max(console.width, needs(part)), crop=False)
        print_lines([*table.notes, *([""] if table.notes and table is not tables[-1] else [])])


def print_lines(lines: Sequence[str]) -> None:
    """Print sentences that break into lines at spaces only, so that what is in them can be copied; all lines but the
    first are indented."""
    from rich.text import Text

    from evalkit.reports.escape import terminal
    from evalkit.reports.terminal import wrap

    console = _console()
    for line in lines:
        broken = wrap(terminal(line), console.width - len(INDENT))
        console.print(Text(f"\n{INDENT}".join(broken), style="dim"), soft_wrap=True)


def print_commands(about: str, commands: Sequence[str]) -> None:
    """Print commands to copy, each in one line however long it is."""
    from rich.text import Text

    from evalkit.reports.escape import terminal

    console = _console()
    for line in (about, *(f"  {command}" for command in commands), ""):
        console.print(Text(terminal(line)), soft_wrap=True)


def _console() -> "Console":
    from rich.console import Console

    # COLUMNS, which rich reads, stands for a terminal that is not there.
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)


def print_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a listing for programs."""
    print_dicts([dict(zip(columns, row, strict=True)) for row in rows])


def print_dicts(rows: Sequence[dict[str, Any]]) -> None:
    """Print `rows` as JSON: in ASCII, where the stream could not take all of it otherwise."""
    import json

    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(rows, indent=2, ensure_ascii=not utf8))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`; raises UsageError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error

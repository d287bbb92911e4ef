"""A Table as text: for a terminal, Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from .table import Cell, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

LATEX_SPECIALS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--",
}  # fmt: skip


def rich_table(table: Table) -> "RichTable":
    """For rich's console."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    rendered = RichTable(title=table.title, box=box.SIMPLE_HEAD, caption="\n".join(table.notes) or None)
    for position, column in enumerate(table.columns):
        rendered.add_column(column.head, justify="right" if position else "left", no_wrap=position == 0)
    for row in table.rows:
        rendered.add_row(*(f"[bold]{escape(c.text)}[/bold]" if c.best else escape(c.text) for c in row))
    return rendered


def markdown(table: Table) -> str:
    """GitHub's Markdown; the best of each column in bold."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    head = line([column.head for column in table.columns])
    rule = "|" + "|".join([" --- "] + [" ---: "] * (len(table.columns) - 1)) + "|"
    body = [line([f"**{c.text}**" if c.best else c.text for c in row]) for row in table.rows]
    notes = [f"\n{note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", head, rule, *body, *notes]) + "\n"


def latex(table: Table) -> str:
    """A `tabular` that needs the package booktabs."""

    def escape(text: str) -> str:
        return "".join(LATEX_SPECIALS.get(character, character) for character in text)

    def show(cell: Cell) -> str:
        return rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)

    lines = [
        f"% {table.title}",
        *(f"% {note}" for note in table.notes),
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(escape(column.head) for column in table.columns) + r" \\",
        r"\midrule",
        *(" & ".join(show(cell) for cell in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """CSV with unrounded values and empty cells where there is none; the column `dataset` comes first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", *(column.key for column in table.columns)])
    for row in table.rows:
        writer.writerow([table.title, row[0].text, *("" if c.value is None else c.value for c in row[1:])])
    return out.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex, "csv": comma_separated}

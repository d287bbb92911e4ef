"""A Table as text: for a terminal, Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .table import TIE, Cell, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

LATEX_SPECIALS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--",
    "≈": r"$\approx$", "≤": r"$\leq$", "±": r"$\pm$", "Δ": r"$\Delta$",
}  # fmt: skip


LONG_NAME = 40
"""Characters beyond which the first column may break into lines on a terminal."""


def rich_table(table: Table) -> "RichTable":
    """For rich's console; the notes are left to the caller, who knows how wide a line may be."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    def show(cell: Cell) -> str:
        text = f"[bold]{escape(cell.text)}[/bold]" if cell.best else escape(cell.text)
        text += f" {TIE}" if cell.tied else ""
        return f"{text}\n[dim]{escape(cell.interval)}[/dim]" if cell.interval else text

    rendered = RichTable(title=table.title, box=box.SIMPLE_HEAD)
    for position, column in enumerate(table.columns):
        widest = max((len(row[position].text) for row in table.rows), default=0)
        whole = position == 0 and widest <= LONG_NAME
        rendered.add_column(column.head, justify="left" if column.words else "right", no_wrap=whole)
    for row in table.rows:
        rendered.add_row(*map(show, row))
    return rendered


def fitting(table: Table, width: int) -> list[Table]:
    """`table`, cut where it is wider than `width` characters into tables that fit, each with the first column: a number
    that is cut short is worse than one that stands further down. A table of words is left whole, since words wrap."""
    from rich.console import Console

    if any(column.words for column in table.columns[1:]):
        return [table]
    measure = Console(width=10_000, file=io.StringIO()).measure  # no terminal, whose own width would count
    parts: list[list[int]] = [[0]]
    for position in range(1, len(table.columns)):
        wider = [*parts[-1], position]
        if len(parts[-1]) > 1 and measure(rich_table(_only(table, wider))).maximum > width:
            parts.append([0, position])
        else:
            parts[-1] = wider
    return [_only(table, part) for part in parts]


def _only(table: Table, positions: Sequence[int]) -> Table:
    rows = tuple(tuple(row[position] for position in positions) for row in table.rows)
    return replace(table, columns=tuple(table.columns[position] for position in positions), rows=rows)


def markdown(table: Table) -> str:
    """GitHub's Markdown; the best of each column in bold, what is not separable from it marked."""

    def show(cell: Cell) -> str:
        text = f"**{cell.text}**" if cell.best else cell.text
        return " ".join(filter(None, [text, cell.interval, TIE if cell.tied else ""]))

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"

    head = line([column.head for column in table.columns])
    rule = "|" + "|".join(" --- " if column.words else " ---: " for column in table.columns) + "|"
    body = [line([show(cell) for cell in row]) for row in table.rows]
    notes = [f"\n{note}" for note in table.notes]
    return "\n".join([f"**{table.title}**", "", head, rule, *body, *notes]) + "\n"


def latex(table: Table) -> str:
    """A `tabular` that needs the package booktabs."""

    def escape(text: str) -> str:
        return "".join(LATEX_SPECIALS.get(character, character) for character in text)

    def show(cell: Cell) -> str:
        text = rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)
        text += rf" {{\scriptsize {escape(cell.interval)}}}" if cell.interval else ""
        return text + (f" {escape(TIE)}" if cell.tied else "")

    lines = [
        f"% {table.title}",
        *(f"% {note}" for note in table.notes),
        rf"\begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in table.columns)}}}",
        r"\toprule",
        " & ".join(escape(column.head) for column in table.columns) + r" \\",
        r"\midrule",
        *(" & ".join(show(cell) for cell in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """CSV with unrounded values and empty cells where there is none; the column `dataset` comes first.

    Each metric M brings the columns M.low and M.high, the bounds of its interval, and M.tied, "yes" where it is not
    separable from the best."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["dataset"]
    for column in table.columns:
        head.append(column.key)
        head += [f"{column.key}.{part}" for part in ("low", "high", "tied")] if column.measured else []
    writer.writerow(head)
    for row in table.rows:
        cells: list[object] = [table.title]
        for column, cell in zip(table.columns, row, strict=True):
            cells.append(cell.text if column.words else "" if cell.value is None else cell.value)
            if column.measured:
                bounds = ["", ""] if cell.bounds is None else [cell.bounds.low, cell.bounds.high]
                cells += [*bounds, "yes" if cell.tied else ""]
        writer.writerow(cells)
    return out.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "latex": latex, "csv": comma_separated}

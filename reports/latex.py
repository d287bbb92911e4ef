"""A Table as LaTeX for a paper: a float with caption and label that needs the package booktabs and nothing else."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from . import escape
from .cells import TIE, Cell, Table
from .terminal import fitting, needs, shares, wrap

PAGE = 74
"""Characters at \\footnotesize across the text of `article` (345 pt), and so across any two-column page."""
COLUMN = 48
"""Across one column of a two-column page, which is 229 pt or more wide."""
ROWS = 40
"""Rows that a page has room for, with an interval below each."""
POINTS = 4.3
"""Width of a character at \\footnotesize."""


def latex(table: Table) -> str:
    """One float, or several where the rows exceed a page: as wide as the text, or as a column where `table` fits one.

    A table that is too wide is laid out as on a terminal: grouped by its first columns, or split below each other.
    """
    parts = fitting(table, PAGE)
    narrow = len(parts) == 1 and needs(parts[0]) <= COLUMN
    blocks = [list(same) for _, same in groupby(parts, key=lambda part: part.columns)]
    floats = [pages for block in blocks for pages in _pages(block)]
    if len(parts) > 1 and sum(len(part.rows) for part in parts) <= ROWS:
        floats = [[part for block in floats for part in block]]
    return "\n".join(_float(table, block, narrow, position) for position, block in enumerate(floats))


def _pages(parts: Sequence[Table]) -> Iterator[list[Table]]:
    """Tables with the same columns, as many at once as a page has room for; one that is too long is cut into pages."""
    page: list[Table] = []
    for part in parts:
        for start in range(0, len(part.rows), ROWS):
            piece = Table(part.title, part.columns, part.rows[start : start + ROWS])
            if page and sum(len(one.rows) + 1 for one in page) + len(piece.rows) > ROWS:
                yield page
                page = []
            page.append(piece)
    yield page


def _float(table: Table, parts: Sequence[Table], narrow: bool, position: int) -> str:
    kind = "table" if narrow else "table*"
    continued = " (continued)" if position else ""
    tabulars = []
    for _, same in groupby(parts, key=lambda part: part.columns):
        tabulars.append(_tabular(table, list(same), COLUMN if narrow else PAGE))
    label = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-") or "table"
    lines = [
        r"% Needs \usepackage{booktabs}." + ("" if narrow else " The star makes it as wide as a two-column page."),
        rf"\begin{{{kind}}}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape.latex(table.title)}{continued}}}",
        rf"\label{{tab:{label}{f'-{position + 1}' if position else ''}}}",
        "\n\\par\\medskip\n".join(tabulars),
        *([] if position else _notes(table.notes)),
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines) + "\n"


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        yield r"\par\smallskip\begin{minipage}{\linewidth}\scriptsize\raggedright"
        yield "\\par\n".join(map(escape.latex, notes))
        yield r"\end{minipage}"


def _tabular(table: Table, parts: Sequence[Table], width: int) -> str:
    """Tables with the same columns below one head; where there are several, each has a line that says what it is of."""
    columns = parts[0].columns
    widths = [max(widths) for widths in zip(*(shares(part, width) for part in parts), strict=True)]
    form = "".join(
        f"p{{{share * POINTS:.0f}pt}}" if column.prose else "l" if column.words else "r"
        for column, share in zip(columns, widths, strict=True)
    )
    lines = [rf"\begin{{tabular}}{{@{{}}{form}@{{}}}}", r"\toprule"]
    if any(column.head for column in columns):
        heads = (_head(c.head, w, c.words) for c, w in zip(columns, widths, strict=True))
        lines += [" & ".join(heads) + r" \\", r"\midrule"]
    for position, part in enumerate(parts):
        about = part.title.removeprefix(table.title).lstrip(": ")
        if position:
            lines.append(r"\midrule" if not about else r"\addlinespace")
        if about:
            lines.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\textit{{{escape.latex(about)}}}}} \\")
        for row in part.rows:
            prose = [bool(column.prose) for column in columns]
            lines.append(" & ".join(map(_show, row, prose)) + r" \\")
            if any(cell.interval for cell in row):
                lines.append(" & ".join(map(_interval, row)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _head(text: str, width: int, words: bool) -> str:
    lines = [escape.latex(line) for line in wrap(text, width)]
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[b]{{@{{}}{'l' if words else 'r'}@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"


def _show(cell: Cell, prose: bool) -> str:
    text = number(cell.text) if cell.value is not None else escape.latex(cell.text)
    if prose:
        return rf"{{\raggedright {text}\par}}" if text else ""
    text = rf"\textbf{{{text}}}" if cell.best else rf"\underline{{{text}}}" if cell.second else text
    return text + (f" {escape.latex(TIE)}" if cell.tied else "")


def _interval(cell: Cell) -> str:
    return rf"{{\scriptsize {number(cell.interval)}}}" if cell.interval else ""


def number(text: str) -> str:
    """A number, or a few, with a true minus sign and powers of ten: `-0.3`, `1e-05`, `[-1.2, 0.4]`."""
    escaped = text if text.startswith("[") else escape.latex(text)
    escaped = re.sub(r"(?<=\d)e([+-])0*(\d+)", lambda m: rf"$\times10^{{{m[1].strip('+')}{m[2]}}}$", escaped)
    return re.sub(r"(?<![\w$^{.])-(?=\d)", "$-$", escaped)

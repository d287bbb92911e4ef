r"""A Table as LaTeX for a paper: floats with caption and label that need the package booktabs and nothing else.

They fit the text of `article`, and with it any two-column page: a table that is too wide is grouped by its first
columns, then split into tables below each other; one that is too long goes on in the next float.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from . import escape
from .cells import TIE, Cell, Column, Table
from .terminal import groups, needs, shares, split, wrap

PAGE = 81
r"""Digits at \footnotesize across the text of `article`, 345 pt; two-column pages are wider."""
COLUMN = 53
"""Across one column of a two-column page, 229 pt or more."""
LINES = 46
"""Lines of a float that leave room for its caption and notes on a page."""
WAITING = 8
"""Floats after which all that wait get pages of their own: LaTeX stops where too many wait."""
DIGIT = 4.2
r"""Points that a digit takes at \footnotesize."""


def latex(table: Table) -> str:
    """The float, or several one after the other."""
    width = needs(_measured(table))
    narrow = width <= COLUMN
    sections = [table] if width <= PAGE or table.keys == 1 else groups(table)
    whole = Table("", sections[0].columns, tuple(row for section in sections for row in section.rows))
    tabulars = [
        tabular
        for positions in split(_measured(whole), COLUMN if narrow else PAGE)
        for tabular in _tabulars(table, [_only(section, positions) for section in sections], narrow)
    ]
    floats = []
    for position, content in enumerate(_pages(tabulars)):
        floats.append(_float(table, content, narrow, position))
        if position % WAITING == WAITING - 1:
            floats.append("\\clearpage\n")
    return "\n".join(floats)


def _measured(table: Table) -> Table:
    r"""`table` with intervals as wide as so many digits: at \scriptsize, and a third of them points and brackets."""
    rows = (tuple(replace(cell, interval="0" * ceil(0.78 * len(cell.interval))) for cell in row) for row in table.rows)
    return replace(table, rows=tuple(rows))


def _only(table: Table, positions: Sequence[int]) -> Table:
    rows = tuple(tuple(row[position] for position in positions) for row in table.rows)
    return Table(table.title, tuple(table.columns[position] for position in positions), rows)


def _pages(tabulars: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """As many of `tabulars` (text, lines) at once as a float has room for."""
    page: list[str] = []
    filled = 0
    for text, lines in tabulars:
        if page and filled + lines > LINES:
            yield page
            page, filled = [], 0
        page.append(text)
        filled += lines
    yield page


def _float(table: Table, tabulars: Sequence[str], narrow: bool, position: int) -> str:
    kind = "table" if narrow else "table*"
    label = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-") or "results"
    lines = [
        r"% Needs \usepackage{booktabs}." + ("" if narrow else " The star: as wide as both columns of a page."),
        rf"\begin{{{kind}}}[t]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape.latex(table.title)}{' (continued)' if position else ''}}}",
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


def _tabulars(table: Table, sections: Sequence[Table], narrow: bool) -> Iterator[tuple[str, int]]:
    """`sections`, which have the same columns, below one head; a new one begins where a page is full. Each with the
    lines that it takes."""
    columns = sections[0].columns
    room = (COLUMN if narrow else PAGE) - 4  # heads and prose are letters, which are wider than digits
    found = [shares(_measured(section), room) for section in sections]
    widths = [max(share) for share in zip(*found, strict=True)]
    body: list[str] = []
    filled = 0
    for section in sections:
        about = section.title.removeprefix(table.title).lstrip(": ")
        if about:
            title = rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\textit{{{escape.latex(about)}}}}} \\"
            body += [rf"\addlinespace {title}" if body else title]
            filled += 1
        for row in section.rows:
            if body and filled >= LINES - 4:
                yield _tabular(columns, widths, body), filled + 4
                body, filled = [], 0
            body += _row(row, columns)
            filled += _height(row, columns, widths)
    yield _tabular(columns, widths, body), filled + 4


def _height(row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> int:
    """Lines that `row` takes."""
    prose = [ceil(len(c.text) / w * 1.1) for c, column, w in zip(row, columns, widths, strict=True) if column.prose]
    return max([1, *prose, *(2 for cell in row if cell.interval)])


def _tabular(columns: Sequence[Column], widths: Sequence[int], body: Sequence[str]) -> str:
    form = "".join(
        f"p{{{width * DIGIT:.0f}pt}}" if column.prose else "l" if column.words else "r"
        for column, width in zip(columns, widths, strict=True)
    )
    heads = (_head(column, width) for column, width in zip(columns, widths, strict=True))
    lines = [
        rf"\begin{{tabular}}{{@{{}}{form}@{{}}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _head(column: Column, width: int) -> str:
    lines = [escape.latex(line) for line in wrap(column.head, width)]
    return lines[0] if len(lines) == 1 else _stack(lines, "l" if column.words else "r", "b")


def _stack(lines: Sequence[str], align: str, baseline: str) -> str:
    return rf"\begin{{tabular}}[{baseline}]{{@{{}}{align}@{{}}}}" + r"\\".join(lines) + r"\end{tabular}"


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> Iterator[str]:
    """A row of a tabular, and one of its intervals; beside prose, which has several lines, in its cells."""
    prose = any(column.prose for column in columns)
    end = r" \tabularnewline" if prose else r" \\"
    intervals = [rf"{{\scriptsize {number(cell.interval)}}}" if cell.interval else "" for cell in row]
    cells = [_show(cell, bool(column.prose)) for cell, column in zip(row, columns, strict=True)]
    if prose:
        cells = [_stack([c, i], "r", "t") if i else c for c, i in zip(cells, intervals, strict=True)]
    yield " & ".join(cells) + end
    if any(intervals) and not prose:
        yield " & ".join(intervals) + end


def _show(cell: Cell, prose: bool) -> str:
    text = number(cell.text) if cell.value is not None else escape.latex(cell.text)
    if prose:
        return rf"\raggedright\hspace{{0pt}}{text}"
    text = rf"\textbf{{{text}}}" if cell.best else rf"\underline{{{text}}}" if cell.second else text
    return text + (f" {escape.latex(TIE)}" if cell.tied else "")


def number(text: str) -> str:
    """A number, or a few, with a true minus sign and powers of ten: `-0.3`, `1e-05`, `[-1.2, 0.4]`."""
    escaped = text if text.startswith("[") else escape.latex(text)
    escaped = re.sub(r"(?<=\d)e([+-])0*(\d+)", lambda m: rf"$\times10^{{{m[1].strip('+')}{m[2]}}}$", escaped)
    return re.sub(r"(?<![\w$^{.])-(?=\d)", "$-$", escaped)

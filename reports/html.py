"""Pieces of HTML that the report (page.py) and the leaderboard share: a page that needs no other file, and tables."""

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from .cells import TIE, Cell, Column, Table
from .escape import html

LONGEST_NAME = 24
"""Characters of the longest name that a narrow page can hold unbroken."""


def document(title: str, body: Iterable[str], styles: Sequence[str], scripts: Sequence[str]) -> str:
    """A whole page in one file.

    Args:
        title: Of the page.
        body: Pieces of HTML.
        styles: Names of files beside this one, which the page contains.
        scripts: Likewise.

    Returns:
        HTML.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html(title)}</title>",
            f"<style>{''.join(map(_file, styles))}</style></head><body>",
            *body,
            *(f"<script>{_file(script)}</script>" for script in scripts),
            "</body></html>",
        ]
    )


def data(name: str, content: Any) -> str:
    """Data for scripts, as JSON in an element.

    Args:
        name: The element's id.
        content: JSON values.

    Returns:
        HTML.
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'<script type="application/json" id="{name}">{_in_script(text)}</script>'


def packed(name: str, content: Any) -> str:
    """As `data`, for much of it: compressed, in base64.

    Args:
        name: The element's id.
        content: JSON values.

    Returns:
        HTML.
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    packed = base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), mtime=0)).decode("ascii")
    return f'<script type="application/octet-stream" id="{name}">{packed}</script>'


def _in_script(text: str) -> str:
    """JSON in which nothing ends the element around it."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def table(content: Table) -> str:
    """`content` with heads that sort it (tables.js)."""
    heads = "".join(head(column.head, column.words) for column in content.columns)
    body = "".join(
        f"<tr>{''.join(_cell(c, column) for c, column in zip(row, content.columns, strict=True))}</tr>\n"
        for row in content.rows
    )
    inner = f"<thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody>"
    return f'<div class="scroll"><table class="sortable">{inner}</table></div>'


def paragraph(text: str) -> str:
    """A sentence.

    Args:
        text: What it says.

    Returns:
        HTML.
    """
    return f"<p>{_whole(text)}</p>"


def head(label: str, words: bool) -> str:
    """The head of a column that sorts.

    Args:
        label: What it says.
        words: Whether the column holds words, not numbers.

    Returns:
        HTML.
    """
    kind = ' class="words"' if words else ""
    shown = _whole(label).replace(" ↑", "&nbsp;↑").replace(" ↓", "&nbsp;↓")  # an arrow stays with the last word
    return f'<th{kind} scope="col"><button type="button">{shown}</button></th>'


def _cell(cell: Cell, column: Column) -> str:
    value = html(cell.text) if column.words else "" if cell.value is None else repr(float(cell.value))
    style = "best" if cell.best else "second" if cell.second else ""
    text = f'<span class="{style}">{html(cell.text)}</span>' if style else html(cell.text)
    text += f' <span class="tie" title="indistinguishable from the best">{TIE}</span>' if cell.tied else ""
    text += f'<span class="interval">{html(cell.interval)}</span>' if cell.interval else ""
    kind = ' class="words"' if column.words else ""
    return f'<td{kind} data-value="{value}">{text}</td>'


def _whole(text: str) -> str:
    """`text` as HTML that breaks no short name at its hyphens (`en-01`, `PESQ-WB`)."""
    return " ".join(
        f'<span class="name">{html(word)}</span>' if "-" in word and len(word) <= LONGEST_NAME else html(word)
        for word in text.split(" ")
    )


def _file(name: str) -> str:
    return files("evalkit.reports").joinpath(name).read_text(encoding="utf-8")

"""Strict reading of what people write: manifests and lists as CSV, TSV, JSON lines or plain lines.

Nothing is guessed, dropped or filled in: what is not as it should be is a UsageError that names the file, the line and
the remedy. Lines end where editors end them (LF, CR LF, CR), not at the other marks that `str.splitlines` knows.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.files import read_bytes, shown
from evalkit.streams import visible


@dataclass(frozen=True)
class Line:
    """One line of a table: column -> text, without white space around it."""

    path: Path
    number: int
    """Counted from 1, as editors do."""
    cells: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{shown(self.path)}, line {self.number}"

    def get(self, column: str) -> str:
        """The text in `column`, empty where there is none."""
        return self.cells.get(column, "")

    def number_of(self, column: str) -> float | None:
        """The number above 0 in `column`, or None where it is empty; raises UsageError for anything else."""
        text = self.get(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{self.place}: {column} {text!r} is not a number") from None
        if not 0 < value < math.inf:
            raise UsageError(
                f"{self.place}: {column} {text!r} is not a number above 0. Leave the cell empty if it is not known"
            )
        return value


@dataclass(frozen=True)
class TableFile:
    """The lines of a file, and the columns that its header names."""

    path: Path
    text: str
    """All of it, with LF at the ends of lines."""
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def require(self, columns: Sequence[str]) -> None:
        """Raises UsageError where one of `columns` is not there, or has an empty cell."""
        absent = [name for name in columns if name not in self.columns]
        if absent:
            there = ", ".join(self.columns) or "none"
            hint = ". Separate them by commas, or by tabs in a file *.tsv" if re.search(r"\w[;\t|]\w", there) else ""
            raise UsageError(f"{shown(self.path)} lacks the column(s) {', '.join(absent)}; it has: {there}{hint}")
        for line in self.lines:
            if empty := [name for name in columns if not line.get(name)]:
                raise UsageError(f"{line.place}: no value for {', '.join(empty)}")


def refuse_twice(what: str, names: Iterable[tuple[Line, str]]) -> None:
    """Raises UsageError with both lines where two of `names` are the same; `what` says what two of them are."""
    first: dict[str, Line] = {}
    for line, name in names:
        if name in first:
            raise UsageError(f"{shown(line.path)}, lines {first[name].number} and {line.number}: {what} {name!r}")
        first[name] = line


def read_text(path: Path) -> str:
    """The text of `path`, with LF at the ends of its lines and no byte order mark.

    Raises:
        UsageError: where it cannot be read, or is not text in UTF-8.
    """
    try:
        return decode(read_bytes(path), shown(path))
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise UsageError(f"{shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def decode(content: bytes, name: str) -> str:
    """The text of a file's `content`, as `read_text` does it; `name` stands for the file in errors."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{name} cannot be read: line {line} is not text in UTF-8 (byte 0x{content[error.start]:02x}). "
            "Save the file as UTF-8"
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(f"{name} cannot be read: line {line} holds a NUL character. Save the file as text in UTF-8")
    return text


def numbered(text: str) -> list[tuple[int, str]]:
    """The lines of `text` that are not blank, each with its number."""
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def read_table(path: Path, required: Sequence[str] = ()) -> TableFile:
    """The table in `path`: CSV with a header, TSV with one where it is named `*.tsv`, or JSON lines (`*.jsonl`).

    Args:
        path: The file.
        required: Columns that must be there, with a value in each line.

    Raises:
        UsageError: for a file that cannot be read, a quotation mark that is not closed, a line with more or fewer cells
            than the header has columns, columns without a name or with the same one, and required ones that are empty.
    """
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        table = _json_lines(path, read_text(path))
    else:
        table = _csv(path, read_text(path))
    table.require(required)
    return table


def _csv(path: Path, text: str) -> TableFile:
    delimiter, what = ("\t", "tab") if path.suffix.lower() == ".tsv" else (",", "comma")
    (_, columns), *rows = _rows(path, text, delimiter) or [(1, [])]
    if "" in columns:
        raise UsageError(
            f"{shown(path)}, line 1: column {columns.index('') + 1} has no name. "
            "Name it or take it out (pandas: to_csv(…, index=False))"
        )
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise UsageError(f"{shown(path)}, line 1: the column(s) {', '.join(twice)} occur twice: keep one of each")
    lines = []
    for number, cells in rows:
        line = Line(path, number, dict(zip(columns, cells, strict=False)))
        if len(cells) > len(columns):
            raise UsageError(
                f"{line.place}: more cells than the header has columns ({len(cells)} for {len(columns)}). "
                f"Put quotation marks around a cell that holds a {what}"
            )
        if len(cells) < len(columns):
            raise UsageError(f"{line.place}: no value for {', '.join(columns[len(cells) :])}: the line is too short")
        lines.append(line)
    return TableFile(path, text, tuple(columns), tuple(lines))


def _rows(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The cells of each line that is not blank, with its number. A cell is within one line: of two that are not closed,
    the second would close the first, and all between them would be gone."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    start = 1
    try:
        for cells in reader:
            if reader.line_num > start:
                raise csv.Error(f"a cell continues to line {reader.line_num}")
            if any(cell.strip() for cell in cells):
                rows.append((start, [cell.strip() for cell in cells]))
            start = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"{shown(path)}, line {start}: {error}. Close every quotation mark on its line, and double one that is "
            'part of the text: "he said ""yes"""'
        ) from error
    return rows


def _json_lines(path: Path, text: str) -> TableFile:
    lines = []
    for number, line in numbered(text):
        place = f"{shown(path)}, line {number}"
        try:
            record = json.loads(line, object_pairs_hook=_no_key_twice)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{place}: not a JSON object on a line of its own: {error}") from error
        if not isinstance(record, dict):
            raise UsageError(f'{place}: not a JSON object: write {{"utterance": …}} on a line of its own')
        lines.append(Line(path, number, {key: _json_text(place, key, value) for key, value in record.items()}))
    columns = tuple(dict.fromkeys(key for line in lines for key in line.cells))
    return TableFile(path, text, columns, tuple(lines))


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _json_text(place: str, key: str, value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise UsageError(f"{place}: {key} is neither a string nor a number")
    return "" if value is None else whole_text(place, key, value) if isinstance(value, str) else json.dumps(value)


def whole_text(place: str, key: str, value: str) -> str:
    """`value` without white space around it; raises UsageError for characters that no file can hold: JSON and
    DataFrames may have them, text in UTF-8 has none."""
    if found := re.search("[\ud800-\udfff]", key + value):
        raise UsageError(f"{place}: {visible(key)} holds the character U+{ord(found[0]):04X}, which is not text")
    return value.strip()


def read_keyed(path: Path, form: str, key: str, separator: str | None = None) -> tuple[Line, ...]:
    """The lines `KEY SEPARATOR TEXT` of `path` that are not blank, as the columns `key` and `text`.

    Args:
        path: The file.
        form: What a line has to be, for messages.
        key: A regular expression for the whole key.
        separator: What ends the key; None for white space, without which a text may be missing.

    Raises:
        UsageError: for a file that cannot be read, a line of another form, and a key that occurs twice.
    """
    lines = []
    for number, text in numbered(read_text(path)):
        before, *after = text.strip().split(separator, 1) if separator is None else text.split(separator, 1)
        if not re.fullmatch(key, before) or (separator is not None and not after):
            raise UsageError(f"{shown(path)}, line {number}: expected {form}")
        lines.append(Line(path, number, {"key": before, "text": "".join(after).strip()}))
    refuse_twice("two entries for", [(line, line.get("key")) for line in lines])
    return tuple(lines)


def read_list(path: Path) -> list[str]:
    """The lines of `path` that are not blank and do not begin with #; raises UsageError where one comes twice."""
    first: dict[str, int] = {}
    for number, line in numbered(read_text(path)):
        entry = line.strip()
        if entry.startswith("#"):
            continue
        if entry in first:
            raise UsageError(f"{shown(path)}, lines {first[entry]} and {number}: {entry!r} twice")
        first[entry] = number
    return list(first)


def text_of(value: object) -> str:
    """A value of somebody's table as text: empty for None and NaN, which stand for nothing, but `0` for 0."""
    return "" if value is None or value != value else str(value)

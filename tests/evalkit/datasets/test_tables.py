"""Lists that people write: read strictly, with the line of whatever is wrong."""

from pathlib import Path

import pytest

from evalkit.datasets.tables import read_keyed, read_list, read_table, text_of
from evalkit.errors import UsageError


def put(folder: Path, content: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(path: Path) -> list[dict[str, str]]:
    return [dict(line.cells) for line in read_table(path)]


def test_lines_end_where_editors_end_them(tmp_path: Path) -> None:
    for mark in "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e":  # what str.splitlines takes for line ends
        assert cells(put(tmp_path, f"id,text\na,one{mark}two\nb,x\n")) == [
            {"id": "a", "text": f"one{mark}two"},
            {"id": "b", "text": "x"},
        ]
    for end in ("\n", "\r\n", "\r"):
        table = read_table(put(tmp_path, f"\ufeffid,text{end}a,x{end}{end}b,y"))
        assert [(line.number, line.get("id")) for line in table] == [(2, "a"), (4, "b")]


def test_what_quotation_marks_hold_is_kept(tmp_path: Path) -> None:
    text = 'id, text\na, "well, ""yes"""\nb,he said "no"\n'
    assert [line["text"] for line in cells(put(tmp_path, text))] == ['well, "yes"', 'he said "no"']
    assert cells(put(tmp_path, "id\ttext\na\twell, yes\n", "list.tsv")) == [{"id": "a", "text": "well, yes"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('id,text\na,x\nb,"so he said\nc,y\n', "line 3: unexpected end of data. Close every quotation mark"),
        ('id,text\na,"so\nb,he\nc,said"\nd,x\n', "line 2: a cell continues to line 4. Close every quotation mark"),
        ('id,text\na,"so" he said\n', "line 2: ',' expected after '\"'"),
        ("id,text\na,well, this was lost\n", r"line 2: more cells than the header has columns \(3 for 2\).*comma"),
        ("id,text\na,x\nb\n", "line 3: no value for text: the line is too short"),
        ("id,text,id\na,x,b\n", r"line 1: the column\(s\) id occur twice"),
        (",id,text\n0,a,x\n", r"line 1: column 1 has no name.*index=False"),
        ("id;text\na;x\n", r"lacks the column\(s\) id, text; it has: id;text"),
        ("id,text\na,\n", "line 2: no value for text"),
        ("id,text\na,   \n", "line 2: no value for text"),
        ("id,text\na,x\nb,\0\n", "line 3 holds a NUL"),
        (b"id,text\na,x\nb,\xe9\n", r"line 3 is not text in UTF-8 \(byte 0xe9\). Save the file as UTF-8"),
        ("id,text\na,x\n".encode("utf-16"), "line 1 is not text in UTF-8"),
        ("", r"lacks the column\(s\) id, text; it has: none"),
        ("id,text\na," + "x" * 200_000 + "\n", "line 2: field larger"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"list.csv.*{message}"):
        read_table(put(tmp_path, text), ("id", "text"))


def test_json_lines_are_a_table_too(tmp_path: Path) -> None:
    text = '{"id": 0, "text": "a\u2028b", "rate": 1.5}\n\n{"id": "b", "text": "x", "rate": null}\n'
    table = read_table(put(tmp_path, text, "list.jsonl"), ("id", "text"))
    assert table.columns == ("id", "text", "rate") and [line.number for line in table] == [1, 3]
    assert dict(table.lines[0].cells) == {"id": "0", "text": "a\u2028b", "rate": "1.5"}
    assert table.lines[1].number_of("rate") is None and table.lines[0].number_of("rate") == 1.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a"}\n{"id": \n', "line 2: not a JSON object"),
        ('["a"]\n', "line 1: not a JSON object"),
        ('{"id": ["a"]}\n', "line 1: id is neither a string nor a number"),
        ('{"id": "a", "id": "b"}\n', "line 1: .*a key occurs twice"),
        ('{"id": ""}\n', "line 1: no value for id"),
        ('{"id": "a"}\n{"text": "a"}\n', "line 2: no value for id"),
        ("[" * 100_000, "line 1: not a JSON object"),
        ('{"id": "\\ud800"}\n', r"line 1: id holds the character U\+D800"),
    ],
)
def test_json_lines_that_are_wrong_say_where(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_table(put(tmp_path, text, "list.jsonl"), ("id",))


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf", "1e400", "-1", "0", "fast", "1,1"])
def test_a_number_that_is_none_is_refused(number: str, tmp_path: Path) -> None:
    (line,) = read_table(put(tmp_path, f'id,rate\na,"{number}"\n'))
    with pytest.raises(UsageError, match=r"list\.csv, line 2: rate .* is not a number"):
        line.number_of("rate")


def test_a_list_of_ids_has_each_once(tmp_path: Path) -> None:
    assert read_list(put(tmp_path, "# mine\na\n\n b\x85c \n")) == ["a", "b\x85c"]
    with pytest.raises(UsageError, match="lines 1 and 3: 'a' twice"):
        read_list(put(tmp_path, "a\nb\na\n"))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_list(tmp_path / "gone.txt")
    with pytest.raises(UsageError, match=r"cannot be read: .*null"):
        read_list(tmp_path / "nul\0.txt")


def test_lines_with_a_key(tmp_path: Path) -> None:
    path = put(tmp_path, "a-1 ONE  TWO\nb-2\n", "trans.txt")
    assert [(line.get("key"), line.get("text")) for line in read_keyed(path, "ID TEXT", "[a-z]-[0-9]")] == [
        ("a-1", "ONE  TWO"),
        ("b-2", ""),
    ]
    for text, message in (
        ("a-1 x\nA x\n", "line 2: expected ID TEXT"),
        ("a-1 x\na-1 y\n", "lines 1 and 2: two entries"),
    ):
        with pytest.raises(UsageError, match=message):
            read_keyed(put(tmp_path, text, "trans.txt"), "ID TEXT", "[a-z]-[0-9]")


def test_values_that_are_false_are_values() -> None:
    assert [text_of(value) for value in (0, 0.0, False, "", None, float("nan"))] == ["0", "0.0", "False", "", "", ""]

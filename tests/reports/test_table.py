"""Tables: the right numbers, the right bold, and nothing that is not comparable side by side."""

import csv
import io
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.reports.render import FORMATS, rich_table
from evalkit.reports.table import build_tables
from evalkit.store import CORPUS, Row, Run, RunWriter, read_run

METRICS = {
    "pesq-wb": {"label": "PESQ-WB", "direction": "up", "version": "1", "decimals": 2},
    "mel": {"label": "Mel", "direction": "down", "version": "1", "decimals": 3},
    "bitrate": {"label": "bit/s", "direction": "none", "version": "1", "decimals": 1},
}


def make_run(path: Path, rows: list[Row], version: str = "1") -> Run:
    metrics = {name: about | {"version": version} for name, about in METRICS.items()}
    with RunWriter(path, list(dict.fromkeys(row.codec for row in rows)), {"metrics": metrics}) as writer:
        writer.add(rows)
    return read_run(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows = [
        Row("good_codec", "set", "a", "pesq-wb", 3.0),
        Row("good_codec", "set", "b", "pesq-wb", 4.0),
        Row("good_codec", "set", "a", "mel", 0.1),
        Row("good_codec", "set", "b", "mel", 0.1),
        Row("good_codec", "set", CORPUS, "bitrate", 1097.7),
        Row("poor_codec", "set", "a", "pesq-wb", 1.5),
        Row("poor_codec", "set", "b", "pesq-wb", None, "silent"),
        Row("poor_codec", "set", "a", "mel", 0.1001),
        Row("poor_codec", "set", "b", "mel", 0.1001),
        Row("poor_codec", "set", CORPUS, "bitrate", None, "no codes"),
    ]
    return make_run(tmp_path / "run", rows)


def test_markdown(run: Run) -> None:
    (table,) = build_tables([run])
    assert FORMATS["markdown"](table) == (
        "**set**\n\n"
        "| Codec | kbit/s | PESQ-WB ↑ | Mel ↓ | n | failed |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| good_codec | 1.098 | **3.50** | **0.100** | 2 | 0 |\n"
        "| poor_codec | – | 1.50 (n=1) | **0.100** | 2 | 1 |\n"
    ), "what prints alike shares the bold; a mean over fewer utterances says so; nothing unknown is filled in"


def test_latex_escapes_and_uses_booktabs(run: Run) -> None:
    text = FORMATS["latex"](build_tables([run])[0])
    assert r"good\_codec & 1.098 & \textbf{3.50} & \textbf{0.100} & 2 & 0 \\" in text
    assert r"PESQ-WB $\uparrow$" in text and r"\toprule" in text and r"poor\_codec & -- &" in text


def test_csv_keeps_what_rounding_would_lose(run: Run) -> None:
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](build_tables([run])[0]))))
    assert lines[1] == {
        "dataset": "set", "codec": "poor_codec", "kbps": "", "pesq-wb": "1.5", "mel": "0.1001", "n": "2", "failed": "1"
    }  # fmt: skip


def test_terminal(run: Run) -> None:
    from rich.console import Console

    console = Console(width=100, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    console.print(rich_table(build_tables([run])[0]))
    text = console.export_text()
    assert "PESQ-WB ↑" in text and "1.50 (n=1)" in text


def test_columns_are_chosen_and_ordered(run: Run) -> None:
    (table,) = build_tables([run], ["mel", "pesq-wb"])
    assert [column.key for column in table.columns] == ["codec", "kbps", "mel", "pesq-wb", "n", "failed"]
    with pytest.raises(UsageError, match=r"no run has the metric\(s\) stoi\. There are: pesq-wb, mel"):
        build_tables([run], ["stoi"])


def test_runs_are_joined_only_where_they_compare(run: Run, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", [Row("third", "set", "a", "pesq-wb", 2.0)])
    (table,) = build_tables([run, other])
    assert [row[0].text for row in table.rows] == ["good_codec", "poor_codec", "third"]
    newer = make_run(tmp_path / "newer", [Row("fourth", "set", "a", "pesq-wb", 2.0)], version="2")
    with pytest.raises(UsageError, match="version '1' in one run and '2'"):
        build_tables([run, newer])
    with pytest.raises(UsageError, match="good_codec on set is in 2 of these runs"):
        build_tables([run, run])


def test_datasets_get_a_table_each(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [Row("c", name, "a", "mel", 0.1) for name in ("one", "two")])
    assert [table.title for table in build_tables([run])] == ["one", "two"]


def test_a_run_that_stopped_early_says_so(run: Run) -> None:
    run.provenance["state"] = "running"
    assert "not complete" in FORMATS["markdown"](build_tables([run])[0])


def test_no_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no rows yet"):
        build_tables([make_run(tmp_path / "run", [])])

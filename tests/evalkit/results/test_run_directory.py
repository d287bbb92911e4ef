"""Run directories: rows survive, whatever ends the run."""

import json
import os
import resource
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.results.rows import COLUMNS, Row, failed_utterances, to_frame
from evalkit.results.run import read_run
from evalkit.results.run_directory import RunWriter
from evalkit.stats import summarize


def row(utterance: str, value: float | None = 1.0, codec: str = "c", metric: str = "m", **more: object) -> Row:
    reason = "silent" if value is None else None
    return Row(codec, "d", utterance, metric, value, reason, **more)  # type: ignore[arg-type]


def test_a_row_has_a_value_or_a_reason() -> None:
    for value, reason in ((None, None), (1.0, "silent")):
        with pytest.raises(ValueError, match="either a value or a reason"):
            Row("c", "d", "u", "m", value, reason)


def test_a_finished_run_reads_back(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", ["c"], {"seed": 3}) as writer:
        writer.add([row("b", None), row("a", 2.5, extra={"accent": "Scots"})])
    run = read_run(tmp_path / "run")
    assert tuple(run.rows.columns) == (*COLUMNS, "accent")
    assert run.rows["utterance"].tolist() == ["a", "b"]
    assert run.rows.loc[0, "value"] == 2.5
    assert pd.isna(run.rows.loc[1, "value"]) and run.rows.loc[1, "reason"] == "silent"
    assert run.provenance["state"] == "finished" and run.provenance["seed"] == 3
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["rows.parquet", "run.json", "summary.csv"]


def test_the_order_of_answers_does_not_change_the_file(tmp_path: Path) -> None:
    rows = [row(u, float(i), codec, m) for i, u in enumerate("abc") for codec in ("z", "y") for m in ("m", "n")]
    for name, ordered in (("one", rows), ("two", rows[::-1])):
        with RunWriter(tmp_path / name, ["z", "y"], {}) as writer:
            writer.add(ordered)
    one, two = ((tmp_path / name / "rows.parquet").read_bytes() for name in ("one", "two"))
    assert one == two
    assert read_run(tmp_path / "one").rows["codec"].iloc[0] == "z", "codecs keep the order of the command"


def test_rows_are_on_disk_as_soon_as_they_are_added(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ["c"], {})
    writer.__enter__()
    writer.add([row("a", 1.0), row("b", None)])
    with (tmp_path / "run" / "rows.jsonl").open("a") as journal:
        journal.write('{"codec": "c", "datas')  # killed in the middle of a line
    run = read_run(tmp_path / "run")
    assert run.rows["utterance"].tolist() == ["a", "b"]
    assert run.provenance["state"] == "running"


def test_a_killed_run_reads_back_whatever_its_texts_hold(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ["c"], {})
    writer.__enter__()
    writer.add(row(f"a\u2028b\x85c\x0bd\x0ce{n}") for n in range(6))
    journal = tmp_path / "run" / "rows.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + '{"codec": "ü'.encode()[:-1])  # killed within a character
    assert len(read_run(tmp_path / "run").rows) == 6
    journal.write_bytes(whole.replace(b"{", b"", 1))
    with pytest.raises(UsageError, match="cannot be read as a run"):
        read_run(tmp_path / "run")


def test_an_error_keeps_what_was_finished(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RunWriter(tmp_path / "run", ["c"], {}) as writer:
        writer.add([row("a")])
        raise RuntimeError
    run = read_run(tmp_path / "run")
    assert len(run.rows) == 1 and run.provenance["state"] == "stopped early (RuntimeError)"


def test_a_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", ["c"], {}) as writer:
        writer.add([row("a")])
    with pytest.raises(UsageError, match="already holds a run"):
        RunWriter(tmp_path / "run", ["c"], {})
    with RunWriter(tmp_path / "run", ["c"], {}, overwrite=True) as writer:
        writer.add([row("b")])
    assert read_run(tmp_path / "run").rows["utterance"].tolist() == ["b"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not a run directory"):
            RunWriter(tmp_path, ["c"], {}, overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("content", ["{", '{"format": 99}'])
def test_a_broken_or_newer_run_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError, match=str(tmp_path)):
        read_run(tmp_path)


def test_provenance_is_strict_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"), RunWriter(tmp_path / "run", [], {"cores": float("nan")}):
        pass


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_summaries_count_every_row(values: list[float | None]) -> None:
    summary = summarize(to_frame([row(f"{i:03}", value) for i, value in enumerate(values)], ["c"]))
    present = [value for value in values if value is not None]
    line = summary.iloc[0]
    assert (line["n"], line["n_failed"]) == (len(present), len(values) - len(present))
    if present:
        assert line["mean"] == pytest.approx(sum(present) / len(present), abs=1e-6)
    else:
        assert pd.isna(line["mean"])


def test_failures_name_codec_utterance_and_first_reason() -> None:
    rows = [row("a", None), row("a", None, metric="n"), row("b"), row("*", None)]
    assert failed_utterances(rows) == {"c": {"a": "m: silent"}}


def test_the_journal_is_json_lines(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", ["c"], {})
    writer.__enter__()
    writer.add([row("ü", 1.0, language="de")])
    line = json.loads((tmp_path / "run" / "rows.jsonl").read_text(encoding="utf-8"))
    assert line["utterance"] == "ü" and line["language"] == "de"


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system does not limit files")
@pytest.mark.parametrize("space", [0, 10, 500, 2_000, 5_000])
def test_where_the_disk_is_full_the_next_try_writes_the_same(space: int, tmp_path: Path) -> None:
    """No file can grow beyond `space` bytes; then all can. Both tries are of one process, as in a notebook."""

    def write(path: Path) -> None:
        with RunWriter(path, ["c"], {"dataset": {"name": "set"}}) as writer:
            writer.add(Row("c", "set", f"u{i}", "m", i / 7) for i in range(40))

    write(tmp_path / "whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (space, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "run" / "writing.lock").exists()
    write(tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == sorted(os.listdir(tmp_path / "whole"))
    for name in ("rows.parquet", "summary.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

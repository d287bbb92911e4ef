"""A run directory that is damaged, for every command that reads one: a sentence that names it, exit 2, no traceback."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalkit.audio import AudioIdentity
from evalkit.cli import main
from evalkit.codecs import Codes
from evalkit.errors import UsageError
from evalkit.results.pairing import Pairing
from evalkit.results.rows import NULLABLE, Coded, Row, codes_table, pairings_table, references_table
from evalkit.results.run import read_codes, read_pairings, read_references
from evalkit.results.run_directory import RunWriter

METRICS = {"si-sdr": {"label": "SI-SDR", "direction": "up", "unit": "dB", "version": "1", "decimals": 2}}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, its baseline, and a shard of another one."""
    folder = tmp_path_factory.mktemp("good")
    for name, shard in (("run", None), ("part", "1/1")):
        about = {"metrics": METRICS, "dataset": {"name": "set", "n": 8}, "codecs": {"a": {}, "b": {}}, "shard": shard}
        with RunWriter(folder / name, ["a", "b"], about) as writer:
            writer.add(
                Row(codec, "set", f"u{i}", "si-sdr", i + j / 3, bitrate_kbps=1.0 + j)
                for j, codec in enumerate("ab")
                for i in range(8)
            )
            writer.add_utterances({f"u{i}": AudioIdentity("0" * 64, 16_000, 16_000) for i in range(8)})
    assert main(["gate", str(folder / "run"), "--update", "--baseline", str(folder / "baseline.json")]) == 0
    return folder


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).write_bytes(change((run / name).read_bytes()))

    return damage


def about(**changes: object) -> Callable[[Path], None]:
    return rewrite("run.json", lambda text: json.dumps(json.loads(text) | changes).encode())


def rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        change(pd.read_parquet(run / "rows.parquet")).to_parquet(run / "rows.parquet")

    return damage


def no_text(run: Path) -> None:
    table = pq.read_table(run / "rows.parquet")
    names = pa.array([f"u{i}".encode() + b"\xfe" for i in range(len(table))]).view(pa.string())
    place = table.schema.get_field_index("utterance")
    pq.write_table(table.set_column(place, "utterance", names), run / "rows.parquet")


def special(name: str, make: Callable[[Path], None] = os.mkfifo) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        make(run / name)

    return damage


DAMAGES = {
    "rows not UTF-8": no_text,
    "rows cut": rewrite("rows.parquet", lambda data: data[: len(data) // 2]),
    "rows empty": rewrite("rows.parquet", lambda data: b""),
    "rows gone": lambda run: (run / "rows.parquet").unlink(),
    "rows a folder": special("rows.parquet", Path.mkdir),
    "rows a pipe": special("rows.parquet"),
    "rows endless": special("rows.parquet", lambda path: path.symlink_to("/dev/zero")),
    "a journal that is a pipe": special("rows.jsonl"),
    "codes a pipe": special("codes.parquet"),
    "references a pipe": special("utterances.parquet"),
    "pairing a pipe": special("pairing.parquet"),
    "provenance a pipe": special("run.json"),
    "rows of text": rows(lambda frame: frame.assign(value="x")),
    "rows without a column": rows(lambda frame: frame.drop(columns="codec")),
    "rows twice": rows(lambda frame: pd.concat([frame, frame])),
    "rows without value and reason": rows(lambda frame: frame.assign(value=None).astype({"value": "float64"})),
    "infinite rows": rows(lambda frame: frame.assign(value=float("inf"))),
    "provenance cut": rewrite("run.json", lambda data: data[:40]),
    "provenance empty": rewrite("run.json", lambda data: b""),
    "provenance a list": rewrite("run.json", lambda data: b"[]"),
    "provenance deep": rewrite("run.json", lambda data: b"[" * 50_000),
    "provenance not UTF-8": rewrite("run.json", lambda data: b"\xff" + data),
    "a newer version": about(format=99),
    "a version of text": about(format="x"),
    "metrics a list": about(metrics=[1]),
    "a metric of text": about(metrics={"si-sdr": "x"}),
    "a metric without a direction": about(metrics={"si-sdr": METRICS["si-sdr"] | {"direction": 3}}),
    "decimals below 0": about(metrics={"si-sdr": METRICS["si-sdr"] | {"decimals": -1}}),
    "a dataset of text": about(dataset="x"),
    "codecs a number": about(codecs=3),
    "state a list": about(state=[]),
}
COMMANDS = {
    "table": ["table", "run"],
    "compare": ["compare", "run"],
    "claims": ["claims", "run"],
    "plot": ["plot", "run", "--output", "plots"],
    "report": ["report", "run", "--output", "report.html"],
    "gate": ["gate", "run", "--baseline", "baseline.json"],
    "update": ["gate", "run", "--baseline", "new.json", "--update"],
    "drift": ["drift", "run", "si-sdr", "si-sdr"],
    "merge": ["merge", "run", "--output", "whole"],
    "by": ["table", "run", "--by", "codec"],
    "against": ["table", "run", "--against", "paper"],
    "rates": ["rates", "run"],
    "bd-rate": ["bd-rate", "run"],
    "leaderboard": ["leaderboard", "run", "--output", "site"],
    "listen": ["listen", "export", "run", "--design", "acr", "--output", "listening"],
    "power": ["listen", "power", "--difference", "5", "--pilot", "run"],
    "add": ["score", "run", "--metrics", "si-sdr"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_run_is_refused_in_a_sentence(
    command: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(good / "baseline.json", tmp_path)
    for name, damage in DAMAGES.items():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(good / ("part" if command == "merge" else "run"), tmp_path / "run")
        damage(tmp_path / "run")
        code, said = main(COMMANDS[command]), capsys.readouterr()
        assert code == 2 and said.err.startswith("evalkit: run ") and said.err.count("\n") == 1, (name, code, said.err)
        assert not said.out and ("rows.parquet" in said.err or not name.startswith("rows")), (name, said.err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["baseline.json", "run"], "nothing was written"


MORE = {
    "drift": ["drift", "run", "si-sdr", "si-sdr"],
    "table": ["table", "run"],
    "by": ["table", "run", "--by", "language"],
    "claims": ["claims", "run"],
    "bd-rate": ["bd-rate", "run"],
    "compare": ["compare", "run"],
    "gate": ["gate", "run", "--baseline", "baseline.json"],
}


def test_a_metric_that_the_provenance_does_not_describe_ends_in_a_sentence(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(good / "baseline.json", tmp_path)
    shutil.copytree(good / "run", tmp_path / "run")
    about(metrics={"other": METRICS["si-sdr"]})(tmp_path / "run")
    codes = {name: main(command) for name, command in MORE.items()}
    assert codes["drift"] == 2 and set(codes.values()) <= {0, 2, 4}, (codes, capsys.readouterr().err)


def test_a_bitrate_that_no_axis_has_is_left_out(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for rate in (0.0, -1.0, float("inf")):
        shutil.copytree(good / "run", tmp_path / "run", dirs_exist_ok=True)
        rows(lambda frame, rate=rate: frame.assign(bitrate_kbps=rate))(tmp_path / "run")  # type: ignore[misc]
        assert main(COMMANDS["plot"]) == 0


@pytest.mark.parametrize("command", ["compare", "gate", "update", "report"])
def test_damaged_references_are_refused(
    command: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(good / "baseline.json", tmp_path)
    shutil.copytree(good / "run", tmp_path / "run")
    (tmp_path / "run" / "utterances.parquet").write_bytes(b"PAR1 no more")
    code, said = main(COMMANDS[command]), capsys.readouterr()
    assert code == 2 and said.err.startswith("evalkit: run/utterances.parquet cannot be read"), said.err


def test_side_tables_with_holes_are_refused(tmp_path: Path) -> None:
    codes = Coded("c", "set", "u", 1.0, Codes(16_000, np.zeros((1, 4), np.int64), (8,)))
    pairing = Pairing(None, 1, None, None, None, 0.0, 0.0, 0.0, 0.0)
    for name, table, read in (
        ("codes", codes_table([codes]), read_codes),
        ("pairing", pairings_table("set", {("c", "clean", "u"): pairing}), read_pairings),
        ("utterances", references_table("set", {"u": AudioIdentity("0" * 64, 16_000, 16_000)}), read_references),
    ):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path)
        assert len(read(tmp_path)) == 1
        for place, column in enumerate(table.schema):
            pq.write_table(table.set_column(place, column, pa.nulls(1, column.type)), path)
            if column.name in NULLABLE:
                read(tmp_path)
            else:
                with pytest.raises(UsageError, match=f"{name}.parquet.*a row without {column.name}"):
                    read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"[" * 50_000, b'{"format": 99}', b'{"format": 1, "values": []}', b"\xff"],
    ids=["empty", "cut", "list", "deep", "newer", "no values", "not UTF-8"],
)
def test_a_damaged_baseline_is_refused(
    content: bytes, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(content)
    assert main(["gate", str(good / "run"), "--baseline", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"evalkit: {path}") and said.count("\n") == 1

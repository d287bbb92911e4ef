"""Means by language, and their macro average."""

from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.reports.breakdown import MACRO, build_breakdown
from evalkit.results.rows import Row
from evalkit.results.run import read_run
from evalkit.results.run_directory import RunWriter

METRICS = {"m": {"label": "M", "direction": "up", "unit": "", "version": "1", "decimals": 2}}
VALUES = {"de": [1.0, 2.0, 3.0], "pl": [6.0], None: [4.0]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    about = {"metrics": METRICS, "resampler": "r", "dataset": {"name": "set"}, "notes": ["Mind this."]}
    with RunWriter(tmp_path / "run", ["a", "b"], about) as writer:
        for codec in ("a", "b"):
            for language, values in VALUES.items():
                for position, value in enumerate(values):
                    failed = codec == "b" and language == "pl"
                    reason = "silence" if failed else None
                    name = f"{language}-{position}"
                    writer.add([Row(codec, "set", name, "m", None if failed else value, reason, language=language)])
    return tmp_path / "run"


def test_every_language_counts_alike(run: Path) -> None:
    (table,) = build_breakdown([read_run(run)], "language")
    lines = {(line[0].text, line[1].text): [cell.text for cell in line[2:]] for line in table.rows}
    assert lines["a", "de"] == ["2.00", "3", "0"] and lines["a", "pl"] == ["6.00", "1", "0"]
    assert lines["a", "unknown"] == ["4.00", "1", "0"]
    assert lines["a", MACRO] == ["4.00", "5", "0"]
    assert lines["b", MACRO] == ["–", "5", "1"]  # a language without a mean leaves no average


def test_the_command_prints_it_and_the_notes_of_a_run_stand_beneath_its_table(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(run), "--by", "language", "--format", "csv"]) == 0
    assert f"a,{MACRO},4.0," in capsys.readouterr().out
    assert main(["table", str(run)]) == 0
    assert "Mind this." in capsys.readouterr().out
    with pytest.raises(UsageError, match="the column 'speaker' is empty"):
        build_breakdown([read_run(run)], "speaker")
    with pytest.raises(UsageError, match=r"metric\(s\) pesq"):
        build_breakdown([read_run(run)], "language", ["pesq"])

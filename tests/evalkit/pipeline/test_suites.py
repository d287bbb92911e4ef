"""Suites: the built-in ones, and those that a user writes, whose mistakes are told with their line."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.pipeline.choice import choose_all
from evalkit.pipeline.suites import (
    AVAILABLE,
    Suite,
    available_metrics,
    load_suite,
    metric_suites,
    read_suite,
    suites,
)
from evalkit.reports.suite import build_suite_tables
from evalkit.results.run import read_run

GOOD = """title: Ours
codecs:
  - codec2@1.2k
  - old=codec2@1.3k
datasets: [builtin]
metrics: [fast, si-sdr]
"""


def test_the_fields_protocols_are_there() -> None:
    assert {"field-librispeech", "field-speech-extra", "offline", "seed-tts-eval"} <= set(suites())
    sets = metric_suites()
    assert load_suite("field-librispeech").metrics == tuple(sets["field"])
    assert load_suite("offline").metrics == (*sets["offline"], "bitrate", AVAILABLE)
    for suite in suites().values():
        assert choose_all(suite.with_ceiling)[-1].spec == "pcm@float32"


def test_the_original_runs_once_however_it_is_named() -> None:
    for name in ("pcm", "pcm@float32"):
        assert Suite("s", "T", (name, "opus@6k"), ("builtin",), ("si-sdr",)).with_ceiling == (name, "opus@6k")


def test_a_file_of_the_users_runs_with_the_original_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ours.yaml").write_text(GOOD)
    path, output = str(tmp_path / "ours.yaml"), tmp_path / "runs"
    assert main(["run", "--suite", path, "--limit", "2", "--no-cache", "--output", str(output)]) == 0
    run = read_run(output / "builtin")
    assert set(run.rows["codec"]) == {"codec2@1.2k", "old", "pcm@float32"}
    assert set(run.provenance.metrics) == {"mel-2048-80-ln1p", "si-sdr", "bitrate"}
    (table,) = build_suite_tables([run], load_suite(path))
    assert [row[0].text for row in table.rows] == ["codec2@1.2k", "old", "pcm@float32"]
    assert not any(cell.best for cell in table.rows[-1]), "the original is no codec to be the best"
    assert any(cell.best for row in table.rows[:-1] for cell in row)
    assert any("the original itself" in note for note in table.notes)
    capsys.readouterr()
    assert (
        main(["run", "--suite", path, "--codec", "codec2@0.7k", "--limit", "1", "--output", str(tmp_path / "b")]) == 0
    )
    assert set(read_run(tmp_path / "b" / "builtin").rows["codec"]) == {"codec2@0.7k", "pcm@float32"}


def test_two_folders_of_a_suite_have_a_run_each(tmp_path: Path, speech: np.ndarray) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "u.wav", speech[:8000], 16_000)
    folders = [f"folder:{tmp_path / name}" for name in ("a", "b")]
    (tmp_path / "two.yaml").write_text(f"title: T\ncodecs: [pcm]\ndatasets: {folders}\nmetrics: [bitrate]\n")
    output = tmp_path / "runs"
    assert main(["run", "--suite", str(tmp_path / "two.yaml"), "--overwrite", "--output", str(output)]) == 0
    assert {read_run(path).provenance.dataset.name for path in output.iterdir()} == {"folder:a", "folder:b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("codecs:", "codec:"), r"s\.yaml, line 2: unknown key 'codec'\. Did you mean 'codecs'\?"),
        (GOOD.replace("[builtin]", "builtin"), r"s\.yaml, line 5: datasets must be a list"),
        (GOOD.replace("codec2@1.2k", "1.2"), r"s\.yaml, line 3: each of codecs must be a string\. Put quotation marks"),
        (GOOD + "title: Again\n", r"s\.yaml, line 7: title occurs twice"),
        (GOOD.replace("metrics: [fast, si-sdr]\n", ""), r"s\.yaml, line 1: metrics missing"),
        (GOOD.replace("[builtin]", "[]"), r"s\.yaml, line 5: datasets must have at least 1"),
        (GOOD + "also: [\n", r"s\.yaml, line 8: this is not valid YAML"),
        ("", r"s\.yaml: the file is empty\. It needs title, codecs, datasets, metrics"),
        ("- a\n", r"s\.yaml, line 1: the file must be keys with values"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_suite(text, "s.yaml")


def test_unknown_names_are_told_with_their_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(GOOD.replace("codec2@1.2k", "kodec@1k").replace("si-sdr", "pesk"))
    assert main(["run", "--suite", str(path), "--output", str(tmp_path / "run")]) == 3
    error = " ".join(capsys.readouterr().err.split())
    assert "line 3" in error and "line 6" in error
    assert main(["run", "--suite", str(tmp_path / "no.yaml")]) == 2
    assert "cannot be read as a suite" in capsys.readouterr().err
    assert main(["run"]) == 2
    assert "--suite NAME" in capsys.readouterr().err


def test_a_missing_extra_is_named_and_its_metrics_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.metrics.visqol.find_spec", lambda name: None)
    names, left_out = available_metrics(load_suite("offline").metrics, ["en"])
    assert {"pesq-wb", "estoi", "bitrate"} <= set(names) and {"visqol-speech", "visqol-speech-exp"} <= set(left_out)
    assert "evalkit[visqol]" in left_out["visqol-speech"].remedy


def test_list_suites(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "suites", "--json"]) == 0
    listed = {one["suite"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(suites())
    assert listed["offline"]["codecs"] == ["nanocodec@1.1k", "opus@6k", "codec2@1.2k", "pcm"]
    assert main(["list", "suites"]) == 0
    assert "--suite FILE.yaml" in capsys.readouterr().out

"""A run as a file, a metric added to a finished run, codecs that are `available`, the list of runs, completion."""

import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from evalkit import plugins
from evalkit.audio import Audio
from evalkit.cli import main, parser
from evalkit.commands.config import with_config
from evalkit.errors import MissingError, UsageError
from evalkit.pipeline.choice import available_codecs
from evalkit.soundfiles import write

RUN = ["run", "--codec", "pcm", "--dataset", "builtin", "--limit", "2", "--metrics", "si-sdr", "--jobs", "1"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def rows(path: Path) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO((path / "rows.parquet").read_bytes()))


def expanded(argv: list[str]) -> list[str]:
    return with_config(argv, parser())


def test_a_file_stands_for_options_and_the_command_line_replaces_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("codec: [pcm, opus@6k]\nmetrics: [estoi, si-sdr]\nlimit: 2\nsave_audio: true\nno-cache: false\n")
    words = ["--codec=pcm", "--codec=opus@6k", "--metrics=estoi,si-sdr", "--limit=2", "--save-audio"]
    assert expanded(["run", "--config", str(path)]) == ["run", *words]
    assert expanded(["run", f"--config={path}", "--codec", "codec2"]) == ["run", *words[2:], "--codec", "codec2"]
    args = parser().parse_args(expanded(["run", "--config", str(path), "--limit=3"]))
    assert (args.codec, args.metrics, args.limit, args.save_audio) == (["pcm", "opus@6k"], ["estoi", "si-sdr"], 3, True)
    assert expanded(["table", "--config", "x"]) == ["table", "--config", "x"], (
        "it has no such option, and says so itself"
    )
    assert expanded(["gate", "x", "--config", "gates.yaml"]) == ["gate", "x", "--config", "gates.yaml"], (
        "its file has margins"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("codecs: [pcm]", "unknown option in .*mine.yaml: 'codecs'. Did you mean 'codec'"),
        ("command: score\nmanifest: x.csv", "is for `evalkit score`, not for `evalkit run`"),
        ("save-audio: 1", "save-audio must be true or false, not 1"),
        ("- codec", "must name options and their values"),
        ("codec: [", "is not YAML"),
    ],
)
def test_what_a_file_gets_wrong_is_told(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        expanded(["run", "--config", str(path)])
    assert main(["run", "--config", str(path)]) == 2 == main(["run", "--config", str(tmp_path / "gone.yaml")])


def test_a_run_leaves_a_file_that_does_the_same_again(tmp_path: Path) -> None:
    assert main([*RUN, "--output", "first"]) == 0
    content = yaml.safe_load((tmp_path / "first" / "run.yaml").read_text())
    assert content == {
        "command": "run", "codec": ["pcm"], "dataset": "builtin", "limit": 2, "metrics": ["si-sdr"], "jobs": 1,
    }  # fmt: skip
    assert main(["run", "--config", "first/run.yaml", "--output", "second"]) == 0
    assert (tmp_path / "first/rows.parquet").read_bytes() == (tmp_path / "second/rows.parquet").read_bytes()


def test_a_metric_is_added_to_a_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--output", "first"]) == 0
    before = rows(tmp_path / "first")
    capsys.readouterr()
    assert main(["score", "first", "--metrics", "mel-nemo", "--jobs", "1"]) == 0
    assert "2 scores came from the cache" in capsys.readouterr().err
    after = rows(tmp_path / "first")
    assert set(after["metric"]) == {"si-sdr", "mel-nemo"}
    pd.testing.assert_frame_equal(after[after["metric"] == "si-sdr"].reset_index(drop=True), before)
    assert main(["score", "first", "--reference", "x", "--decoded", "y"]) == 2
    for odd in ("metrics: {a: b}", "metrics: 3", "metrics: [[a], b]", "command: [run]", "command: null"):
        (tmp_path / "first/run.yaml").write_text(odd)
        assert main(["score", "first", "--metrics", "stoi"]) == 2
    assert rows(tmp_path / "first").equals(after)
    (tmp_path / "first/run.yaml").unlink()
    assert main(["score", "first", "--metrics", "stoi"]) == 2 and "run.yaml" in capsys.readouterr().err


def test_paths_that_are_not_utf8_are_paths(tmp_path: Path) -> None:
    """Of the data, of decoded audio and of the run; and so are names."""
    odd = os.fsdecode(b"x\xff")
    for name in (odd, "a"):
        write(tmp_path / name / "u.wav", Audio(0.1 * np.sin(np.arange(8000) / 9, dtype=np.float32), 16_000))
    options = ["--condition", f"noise:10,type={odd}", "--metrics", "si-sdr", "--save-audio"]
    assert main(["run", "--codec", f"{odd}=pcm", "--dataset", f"folder:{odd}", *options, "--output", f"{odd}-run"]) == 0
    found = rows(tmp_path / f"{odd}-run").iloc[0]
    assert found[["codec", "dataset"]].tolist() == ["x\\xff", "folder:x\\xff"] and found["condition"].endswith("x\\xff")
    assert main(["run", "--config", f"{odd}-run/run.yaml", "--output", "again"]) == 0
    assert rows(tmp_path / "again").equals(rows(tmp_path / f"{odd}-run"))
    decoded = ["--decoded", f"{odd}={odd}", "--name", odd, "--metrics", "si-sdr"]
    assert main(["score", "--reference", "a", *decoded, "--output", "scored"]) == 0
    assert rows(tmp_path / "scored")[["codec", "dataset"]].values.tolist() == [["x\\xff", "x\\xff"]]


def test_a_metric_is_added_to_a_scored_folder(tmp_path: Path) -> None:
    for name, level in (("a", 0.0), ("b", 0.1)):
        noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
        write(tmp_path / name / "u.wav", Audio(0.1 * noise + level * noise[::-1], 16_000))
    assert main(["score", "--reference", "a", "--decoded", "b", "--metrics", "si-sdr", "--output", "run"]) == 0
    assert main(["score", "run", "--metrics", "lsd-2048"]) == 0
    assert set(rows(tmp_path / "run")["metric"]) == {"si-sdr", "lsd-2048"}


def test_codecs_that_are_available() -> None:
    assert available_codecs(["mimi", "pcm"]) == (["mimi", "pcm"], {}), "not asked for, not looked at"
    names, left_out = available_codecs(["mimi@1.1k", "a=pcm", "available"])
    assert names == ["a=pcm"] and "evalkit fetch mimi" in left_out["mimi@1.1k"]
    names, left_out = available_codecs(["mimi@1.1k", "available"], weights=["mimi@1.1k=w"])
    assert names == ["mimi@1.1k"] and not left_out
    alone, _ = available_codecs(["available"])
    assert "nanocodec@1.1k" in alone and not any(name.startswith(("mimi", "rendered")) for name in alone)
    assert {name.partition("@")[0] for name in alone} <= set(plugins.names("codec"))
    with pytest.raises(MissingError, match="evalkit fetch mimi"):
        available_codecs(["mimi@1.1k", "available"])


def test_runs_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "runs"]) == 0 and "No runs in this folder." in capsys.readouterr().out
    assert main([*RUN, "--output", "runs/first"]) == 0
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    capsys.readouterr()
    assert main(["list", "runs"]) == 0
    out = capsys.readouterr().out
    assert "runs/first" in out and "finished" in out and "cannot be read" in out
    assert main(["list", "runs", "elsewhere"]) == 0 and main(["list", "codecs", "elsewhere"]) == 2


@pytest.mark.parametrize(
    "option", ["run --timeout", "bench --codec pcm --seconds", "bench --codec pcm --cfg", "report r --max-mb"]
)
def test_numbers_that_are_none_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("nan", "inf", "-1"):
        with pytest.raises(SystemExit) as ended:
            main([*option.split(), wrong])
        assert ended.value.code == 2 and "must be a number, 0 or more" in capsys.readouterr().err


def test_names_given_twice_count_once() -> None:
    assert parser().parse_args(["table", "r", "--codecs", "a,b,a"]).codecs == ["a", "b"]


def test_the_shell_completes_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    ask = "\nCOMP_WORDS=(evalkit ru); COMP_CWORD=1; _shtab_evalkit; echo ${COMPREPLY[@]}"
    done = subprocess.run(["bash", "-c", script + ask], capture_output=True, text=True)
    assert done.stdout.split() == ["run"], done.stderr

"""Audio that a codec decoded elsewhere: `--codec ts3@0.85k --rendered DIR`."""

import re
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from evalkit.audio_files import audio_files
from evalkit.baselines import rendered
from evalkit.cli import main
from evalkit.datasets import load_dataset
from evalkit.datasets.base import Utterance
from evalkit.errors import AudioError, MissingError, UsageError
from evalkit.pipeline.choice import assign, choose
from evalkit.pipeline.systems import finder
from evalkit.results.run import read_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The first three built-in utterances at 16 kHz, half as loud, in three formats; no others."""
    path = tmp_path / "theirs"
    path.mkdir()
    for utterance, suffix in zip(load_dataset("builtin").utterances[:3], ("wav", "flac", "WAV"), strict=True):
        audio = utterance.audio().at(16_000)
        soundfile.write(
            path / f"{utterance.id}.{suffix}", audio.wav / 2, 16_000, format="WAV" if suffix != "flac" else None
        )
    return path


def test_a_row_of_a_codec_that_nobody_can_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    command = ["run", "--codec", "ts3@0.85k", "--rendered", str(folder), "--metrics", "si-sdr,bitrate"]
    ids = {utterance.id for utterance in load_dataset("builtin").utterances[:3]}
    everything = len(load_dataset("builtin"))
    assert main([*command, "--output", str(output), "--max-failed", str(everything - 3)]) == 0
    run = read_run(output)
    assert set(run.rows["codec"]) == {"ts3@0.85k (rendered)"}
    scored = run.rows[run.rows["metric"] == "si-sdr"]
    there = scored[scored["utterance"].isin(ids)]
    assert len(there) == 3 and (there["value"] > 40).all() and (there["bitrate_kbps"] == 0.85).all()
    absent = scored[~scored["utterance"].isin(ids)]
    assert absent["value"].isna().all() and absent["reason"].str.contains("has no audio file named").all()
    (measured,) = run.rows[run.rows["metric"] == "bitrate"].itertuples()
    assert pd.isna(measured.value) and "nothing was encoded" in measured.reason
    about = run.provenance.codecs["ts3@0.85k (rendered)"]
    assert (about.rendered, about.declared_bitrate) == (str(folder), 850.0)


def test_a_bitrate_that_nobody_declared_is_null(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    for name in ("surplus.wav", "notes.txt"):
        (folder / name).touch()
    command = ["run", "--codec", "rendered", "--rendered", str(folder), "--metrics", "si-sdr", "--max-failed", "99"]
    assert main([*command, "--output", str(output)]) == 0
    said = " ".join(read_run(output).provenance.notes)
    assert "1 of 4 files match no utterance of builtin, for instance surplus" in said
    assert "4 of 5 files were used; skipped: 1 without an audio suffix (.txt)" in said
    rows = read_run(output).rows
    assert set(rows["codec"]) == {"theirs (rendered)"} and rows["bitrate_kbps"].isna().all()


def test_a_codec_that_runs_takes_rendered_audio_too(folder: Path) -> None:
    (choice,) = assign([choose("opus@6k")], [str(folder)], "--rendered")
    assert (choice.rendered_name, choice.rendered, choice.declared_bitrate) == ("opus@6k (rendered)", folder, 6000.0)


def test_without_a_folder_the_remedy_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--codec", "ts3@0.85k", "--output", str(tmp_path / "run")]) == 3
    assert "rendered only. TS3-Codec was never released" in capsys.readouterr().err
    with pytest.raises(MissingError, match="add --rendered DIR"):
        rendered.TS3.build("0.85k")
    assert main(["run", "--codec", "ts3", "--rendered", str(tmp_path / "no"), "--output", str(tmp_path / "run")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_files_are_found_by_id(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/one.wav", "a/one.two.wav", "a/one.txt", "twice.wav", "twice.flac"):
        (tmp_path / name).touch()
    find = finder(audio_files(tmp_path))
    assert find(Utterance("a/one", tmp_path)) == tmp_path / "a" / "one.wav"
    assert find(Utterance("a/one.two", tmp_path)) == tmp_path / "a" / "one.two.wav"
    for utterance, message in (("two", "no audio file named two"), ("b/one", "no audio"), ("twice", "the same name")):
        with pytest.raises(AudioError, match=message):
            find(Utterance(utterance, tmp_path))


def test_a_suite_with_rendered_audio(
    folder: Path, tmp_path: Path, empty_hub: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("nanocodec@0.6k", "taae@0.7k")
    rendered_names = [part for name in names for part in ("--rendered", f"{name}={folder}")]
    command = ["run", "--suite", "paper-ultralow", "--dataset", "builtin", "--metrics", "si-sdr", "--max-failed", "99"]
    assert main([*command, "--output", str(tmp_path / "runs")]) == 3
    assert re.search(r"codec taae@0.7k\s+needs license", capsys.readouterr().err)
    assert main([*command, *rendered_names, "--output", str(tmp_path / "runs")]) == 0
    run = read_run(tmp_path / "runs" / "builtin")
    assert set(run.rows["codec"]) == {"pcm@float32", *(f"{name} (rendered)" for name in names)}


def test_which_codec_a_path_is_for() -> None:
    codecs = [choose("mimi@1.1k"), choose("mimi@2.2k"), choose("ts3")]
    assigned = assign(codecs, ["mimi@2.2k=w", "ts3=t"], "--weights")
    assert [str(one.weights) for one in assigned] == ["None", "w", "t"]
    for text in ("w", "mimi=w", "dac=w"):
        with pytest.raises(UsageError, match=r"which codec is this for\? Write --weights mimi@1.1k=PATH, "):
            assign(codecs, [text], "--weights")
    with pytest.raises(UsageError, match="pcm@float32 has no weights"):
        assign([choose("pcm")], ["w"], "--weights")[0].build()


def test_declared_systems_say_what_they_are_and_why_they_do_not_run() -> None:
    bitrates = {
        "cosyvoice2@0.317k": 317.0, "bicodec@0.65k": 650.0, "kanade@0.34k": 341.1, "xy-tokenizer@1k": 1000.0,
        "mimo@1.55k": 1550.0, "longcat@0.43k": 433.1, "longcat@0.87k": 865.9, "magicodec@0.85k": 850.0,
        "focalcodec-stream@0.8k": 800.0, "opus-nolace@6k": 6000.0, "vibevoice@continuous": None,
        "pocket-tts@continuous": None,
    }  # fmt: skip
    for spec, bitrate in bitrates.items():
        choice = choose(spec)
        assert choice.declared_bitrate == (None if bitrate is None else pytest.approx(bitrate, abs=0.05)), spec
        assert choice.family.info(choice.rate).continuous == (bitrate is None)
        assert choice.availability().code == "rendered only"
        with pytest.raises(MissingError, match=f"{spec}: .* add --rendered DIR"):
            choice.build()

"""The commands, as a person meets them: what is printed, what lies on disk, and the exit code."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from evalkit.baselines.opus import OpusCodec
from evalkit.cli import main
from evalkit.codecs import Codes
from evalkit.commands.measure import SCORE_EXAMPLES
from evalkit.results.rows import CORPUS
from evalkit.results.run import read_run

RATE = 16_000
EVALKIT = [sys.executable, "-m", "evalkit.cli"]
CHEAP = "mel-2048-80-ln1p,si-sdr"


def values(run: Path) -> dict[tuple[str, str], float | None]:
    """(utterance, metric) -> value of a run with one codec."""
    rows = read_run(run).rows
    return {
        (u, m): None if pd.isna(v) else v
        for u, m, v in zip(rows["utterance"], rows["metric"], rows["value"], strict=True)
    }


def reasons(run: Path) -> dict[str, set[str]]:
    """utterance -> reasons of its null rows."""
    rows = read_run(run).rows
    failed = rows[rows["value"].isna()]
    return {str(u): set(part["reason"]) for u, part in failed.groupby("utterance")}


# --- score -------------------------------------------------------------------------------------------------------


def test_the_examples_of_score_run(tmp_path: Path, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for line in SCORE_EXAMPLES.splitlines() if line.startswith("  evalkit") and "runs/" not in line]
    files = {"originals/a/1": 1.0, "decoded/a/1": 0.9, "decoded/a/1_dec": 0.8, "out/1/a/1": 0.7, "out/2/a/1": 0.6}
    for name, gain in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(f"{name}.wav", gain * speech[:RATE], RATE)
    Path("originals.scp").write_text("u originals/a/1.wav\n")
    Path("decoded.scp").write_text("u decoded/a/1.wav\n")
    Path("pairs.csv").write_text("utterance,reference,decoded\nu,originals/a/1.wav,decoded/a/1.wav\n")
    systems = []
    for number, line in enumerate(lines):
        words = shlex.split(line.strip().partition("      ")[0].partition("   ")[0])
        if "--metrics" not in words:
            words += ["--metrics", "si-sdr"]
        assert main([*words[1:], "--output", str(number)]) == 0, line
        systems.append(list(dict.fromkeys(read_run(tmp_path / str(number)).rows["codec"])))
    assert systems == [["decoded"], ["decoded"], ["mimi", "opus"], ["decoded"], ["decoded"], ["decoded"]]


# --- run ---------------------------------------------------------------------------------------------------------


def test_identity_scores_perfectly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "run"
    assert main(["run", "--codec", "pcm", "--limit", "3", "--output", str(output), "--save-audio"]) == 0
    rows = read_run(output).rows
    means = rows[rows["utterance"] != CORPUS].groupby("metric")["value"].mean()
    assert means["pesq-wb"] == pytest.approx(4.6439, abs=1e-3)
    assert means["stoi"] == pytest.approx(1, abs=1e-6) and means["estoi"] == pytest.approx(1, abs=1e-6)
    assert means["mel-2048-80-ln1p"] == 0 and means["si-sdr"] == 100
    assert (
        sorted(path.parent.name for path in (output / "audio").rglob("*.wav"))
        == ["pcm@float32"] * 3 + ["reference"] * 3
    )
    printed = capsys.readouterr()
    assert "PESQ-WB ↑" in printed.out and str(output) in printed.err


def test_a_run_says_where_its_numbers_come_from(tmp_path: Path) -> None:
    output = tmp_path / "run"
    main(["run", "--codec", "opus@6k", "--limit", "2", "--seed", "5", "--metrics", CHEAP, "--output", str(output)])
    about = json.loads((output / "run.json").read_text())
    assert about["state"] == "finished" and about["seed"] == 5 and about["device"] == "cpu"
    assert about["packages"]["numpy"] == np.__version__ and about["resampler"].startswith("soxr")
    assert about["dataset"]["name"] == "builtin" and len(about["dataset"]["revision"]) == 64
    assert about["metrics"]["si-sdr"]["version"] and about["codecs"]["opus@6k"]["sample_rate"] == 48_000
    assert (output / "summary.csv").read_text().startswith("codec,dataset,condition,metric,n,n_failed,mean")


def test_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        main(["run", "--codec", "codec2@1.2k", "--limit", "3", "--metrics", CHEAP, "--output", str(tmp_path / name)])
    one, two = ((tmp_path / name / "rows.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codec", "mimis"], "unknown codec 'mimis'"),
        (["--codec", "opus@7k"], "Known: opus@6k, opus@8k, opus@12k"),
        (["--codec", "opus", "--bitrate", "fast"], "'fast' is not a number of bit/s"),
        (["--codec", "pcm", "--metrics", "pesq"], "or 'squim-pesq'? `evalkit list metrics` shows all"),
        (["--codec", "pcm", "--dataset", "mls45"], "unknown dataset 'mls45'"),
    ],
)
def test_unknown_names_exit_2_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments, "--output", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_weights_exit_3_and_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--codec", "nanocodec@1.78k", "--codec", "pcm", "--output", str(tmp_path / "run")]) == 3
    error = capsys.readouterr().err
    assert "nanocodec@1.78k: needs download" in error and "pcm" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_exits_3(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--codec", "pcm", "--device", device, "--output", str(tmp_path / "run")]) == 3
    assert f"--device {device} cannot be used here" in capsys.readouterr().err


def test_an_output_that_holds_a_run_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--codec", "pcm", "--limit", "1", "--metrics", CHEAP, "--output", str(tmp_path / "run")]
    assert main(command) == 0
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_an_interrupted_run_keeps_its_rows(tmp_path: Path) -> None:
    output = tmp_path / "run"
    command = [*EVALKIT, "run", "--codec", "opus@6k", "--codec", "opus@12k", "--output", str(output)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    journal = output / "rows.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "finished work is kept" in error and "Traceback" not in error
    run = read_run(output)
    assert len(run.rows) and run.provenance["state"] == "stopped early (KeyboardInterrupt)"


@pytest.mark.parametrize("moment", ["encode", "decode"])
def test_an_interrupt_that_a_codec_swallows_is_not_lost(
    moment: str, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = getattr(OpusCodec, moment), []

    def swallow(codec: OpusCodec, given: Codes | np.ndarray) -> Codes | np.ndarray:
        calls.append(given)
        try:
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            return real(codec, calls[0])  # what is wrong now must not be kept
        return real(codec, given)

    monkeypatch.setattr(OpusCodec, moment, swallow)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        command = ["run", "--codec", "opus@6k", "--metrics", CHEAP, "--output", str(tmp_path / "run")]
        assert main(command) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(calls) == 2 and len(list(own_cache.rglob("*.wav"))) == 1


# --- score -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, speech: np.ndarray) -> tuple[Path, Path]:
    """Two folders with one good pair; tests add bad ones beside it."""
    reference, decoded = tmp_path / "reference", tmp_path / "decoded"
    add(reference, decoded, "good", speech, speech)
    return reference, decoded


def add(reference: Path, decoded: Path, name: str, original: np.ndarray, copy: np.ndarray, rate: int = RATE) -> None:
    for folder, wav in ((reference, original), (decoded, copy)):
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{name}.wav", wav, rate, subtype="FLOAT")


def score(folders: tuple[Path, Path], output: Path, metrics: str = "default", *more: str) -> int:
    reference, decoded = map(str, folders)
    return main(
        ["score", "--reference", reference, "--decoded", decoded, "--metrics", metrics, "--output", str(output), *more]
    )


def test_bad_files_cost_their_own_rows_only(folders: tuple[Path, Path], speech: np.ndarray, tmp_path: Path) -> None:
    reference, decoded = folders
    with_nan = speech.copy()
    with_nan[100] = np.nan
    add(reference, decoded, "nan", speech, with_nan)
    add(reference, decoded, "nan-reference", with_nan, speech)
    add(reference, decoded, "silent-reference", np.zeros_like(speech), speech)
    add(reference, decoded, "silent-decoded", speech, np.zeros_like(speech))
    add(reference, decoded, "short", speech[:1600], speech[:1600])
    add(reference, decoded, "no-samples", speech, speech[:0])
    add(reference, decoded, "missing", speech, speech)
    (decoded / "missing.wav").unlink()
    for name, content in (("empty", b""), ("text", b"not audio at all")):
        add(reference, decoded, name, speech, speech)
        (decoded / f"{name}.wav").write_bytes(content)
    add(reference, decoded, "half", speech, speech[: len(speech) // 2])

    assert score(folders, tmp_path / "run") == 4
    found = values(tmp_path / "run")
    assert found["good", "pesq-wb"] == pytest.approx(4.6439, abs=1e-3)
    assert found["good", "estoi"] == pytest.approx(1, abs=1e-6)
    why = reasons(tmp_path / "run")
    assert "good" not in why
    for name, words in {
        "nan": "NaN",
        "nan-reference": "NaN",
        "no-samples": "no samples",
        "missing": "no decoded file",
        "empty": "the file is empty",
        "text": "cannot be read as audio",
        "half": "lengths differ by more than 0.25 s",
    }.items():
        assert all(words in reason for reason in why[name]), (name, why[name])
        assert {m for u, m in found if u == name and found[u, m] is None} == {m for u, m in found if u == "good"}
    for name in ("silent-reference", "silent-decoded"):
        for metric in ("pesq-wb", "stoi", "estoi", "si-sdr"):
            assert found[name, metric] is None, (name, metric)
        assert any("silen" in reason for reason in why[name])
        assert found[name, "mel-2048-80-ln1p"] > 0
    assert found["short", "pesq-wb"] is None and found["short", "stoi"] is None
    assert found["short", "mel-2048-80-ln1p"] == 0


def test_stereo_and_other_rates_are_scored(folders: tuple[Path, Path], speech: np.ndarray, tmp_path: Path) -> None:
    import soxr

    reference, decoded = folders
    add(reference, decoded, "stereo", np.stack([speech, speech], 1), np.stack([speech, speech], 1))
    for rate in (8_000, 96_000):
        wav = soxr.resample(speech, RATE, rate)
        add(reference, decoded, f"at-{rate}", wav, wav, rate)
    assert score(folders, tmp_path / "run") == 0
    found = values(tmp_path / "run")
    for name in ("stereo", "at-8000", "at-96000"):
        assert found[name, "pesq-wb"] == pytest.approx(4.6439, abs=1e-3)
        assert found[name, "mel-2048-80-ln1p"] == 0


def test_a_small_difference_in_length_is_trimmed(
    folders: tuple[Path, Path], speech: np.ndarray, tmp_path: Path
) -> None:
    add(*folders, "longer", speech, np.concatenate([speech, np.zeros(1280, np.float32)]))
    add(*folders, "shorter", speech, speech[:-1280])
    assert score(folders, tmp_path / "run", CHEAP) == 0
    found = values(tmp_path / "run")
    assert found["longer", "si-sdr"] == found["shorter", "si-sdr"] == 100


def test_a_crash_of_pesq_costs_one_row(
    folders: tuple[Path, Path], bursts: np.ndarray, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    add(*folders, "bursts", bursts, 0.9 * bursts)
    assert score(folders, tmp_path / "run", f"pesq-wb,{CHEAP}") == 4
    assert reasons(tmp_path / "run") == {"bursts": {"its process crashed: SIGSEGV"}}
    found = values(tmp_path / "run")
    assert found["bursts", "pesq-wb"] is None and found["bursts", "si-sdr"] == 100
    assert found["good", "pesq-wb"] == pytest.approx(4.6439, abs=1e-3)
    assert "Traceback" not in capfd.readouterr().err


def test_failures_can_be_allowed(folders: tuple[Path, Path], speech: np.ndarray, tmp_path: Path) -> None:
    add(*folders, "silent", np.zeros_like(speech), speech)
    assert score(folders, tmp_path / "one", "si-sdr") == 4
    assert score(folders, tmp_path / "two", "si-sdr", "--max-failed", "1") == 0


def test_a_manifest_scores_systems_side_by_side(folders: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(
        "utterance,reference,decoded,system,language,speaker,bitrate_kbps,accent\n"
        "u,reference/good.wav,decoded/good.wav,one,en,s1,1.1,Scots\n"
        "u,reference/good.wav,decoded/gone.wav,two,en,s1,,\n"
    )
    assert main(["score", "--manifest", str(manifest), "--metrics", CHEAP, "--output", str(tmp_path / "run")]) == 4
    rows = read_run(tmp_path / "run").rows
    one, two = rows[rows["codec"] == "one"], rows[rows["codec"] == "two"]
    assert one["value"].notna().all() and one["bitrate_kbps"].eq(1.1).all() and one["accent"].eq("Scots").all()
    assert one["language"].eq("en").all() and one["dataset"].eq("pairs").all()
    assert two["value"].isna().all() and two["reason"].str.contains("gone.wav: no such file").all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --reference"),
        (["--reference", "a"], "give either --reference"),
        (["--reference", "a", "--decoded", "b"], "a does not exist"),
        (["--manifest", "none.csv"], "none.csv cannot be read"),
    ],
)
def test_wrong_use_of_score_exits_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_metrics_of_codes_need_codes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert score(folders, tmp_path / "run", "entropy") == 2


# --- table and list ----------------------------------------------------------------------------------------------


def test_tables_of_several_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = []
    for codec in ("opus@6k", "codec2@1.2k"):
        runs.append(str(tmp_path / codec))
        main(["run", "--codec", codec, "--limit", "2", "--metrics", f"{CHEAP},bitrate", "--output", runs[-1]])
    capsys.readouterr()
    assert main(["table", *runs, "--format", "markdown"]) == 0
    markdown = capsys.readouterr().out
    assert "| opus@6k | 6." in markdown and "| codec2@1.2k | 1.2" in markdown and "**" in markdown
    assert main(["table", str(tmp_path)]) == 2
    assert "is not a run directory" in capsys.readouterr().err


@pytest.mark.parametrize(("what", "name"), [("codecs", "opus@6k"), ("metrics", "pesq-wb"), ("datasets", "builtin")])
def test_lists_for_people_and_programs(what: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert name in capsys.readouterr().out
    assert main(["list", what, "--json"]) == 0
    listed = {next(iter(row.values())): row for row in json.loads(capsys.readouterr().out)}
    assert listed[name]["state"] == "ready"


# --- the program itself ------------------------------------------------------------------------------------------


def test_help_has_examples() -> None:
    for command in ([], ["run"], ["score"], ["table"]):
        shown = subprocess.run([*EVALKIT, *command, "--help"], capture_output=True, text=True, check=True).stdout
        assert "examples:" in shown


def test_importing_evalkit_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import evalkit, evalkit.cli; "
        "took = time.perf_counter() - start; "
        "heavy = {'torch', 'transformers', 'pandas', 'av'} & set(sys.modules); assert not heavy, heavy; print(took)"
    )
    took = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(took) < 1


def test_scoring_loads_no_torch(folders: tuple[Path, Path], tmp_path: Path) -> None:
    code = (
        "import sys; from evalkit.cli import main; "
        f"code = main(['score', '--reference', {str(folders[0])!r}, '--decoded', {str(folders[1])!r}, "
        f"'--metrics', {CHEAP!r}, '--output', {str(tmp_path / 'run')!r}]); "
        "assert code == 0 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

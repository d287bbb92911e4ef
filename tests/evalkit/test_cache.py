"""The cache: nothing is computed twice, nothing is lost, and what is kept is what was computed."""

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit import cache
from evalkit.audio import Audio
from evalkit.cache import Cache, content_key
from evalkit.cli import main
from evalkit.codecs import Codes
from evalkit.pipeline import known_scores, schedule
from evalkit.pipeline.jobs import Job
from evalkit.results.run import read_run
from evalkit.soundfiles import write

CHEAP = "mel-2048-80-ln1p,si-sdr"
EVALKIT = [sys.executable, "-m", "evalkit.cli"]


def run(output: Path, *more: str, metrics: str = CHEAP, codec: str = "opus@6k") -> bytes:
    code = main(["run", "--codec", codec, "--limit", "4", "--metrics", metrics, "--output", str(output), *more])
    assert code == 0
    return (output / "rows.parquet").read_bytes()


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, encoding and scoring are errors."""
    from evalkit.baselines.opus import OpusCodec

    def fail(*_: object) -> None:
        raise AssertionError("this was computed before")

    monkeypatch.setattr(OpusCodec, "encode", fail)
    monkeypatch.setattr(
        schedule, "run_isolated", lambda _, __, *lanes, **more: [fail() for jobs, _ in lanes for _ in jobs]
    )


def test_a_second_run_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path / "one", metrics=f"{CHEAP},bitrate")
    forbid(monkeypatch)
    assert run(tmp_path / "two", "--save-audio", metrics=f"{CHEAP},bitrate") == first
    assert len(list((tmp_path / "two" / "audio").rglob("*.wav"))) == 4 + 4


def test_a_pipe_in_place_of_cached_audio_is_replaced(tmp_path: Path, own_cache: Path) -> None:
    first = run(tmp_path / "one")
    cached = sorted(own_cache.rglob("*.wav"))
    cached[0].unlink()
    os.mkfifo(cached[0])
    assert run(tmp_path / "two") == first and cached[0].is_file()


def test_without_a_cache_nothing_is_kept(tmp_path: Path, own_cache: Path) -> None:
    first = run(tmp_path / "one", "--no-cache")
    assert not own_cache.exists()
    assert run(tmp_path / "two") == first


def test_a_metric_that_changed_is_computed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "one")
    jobs: list[Job] = []
    isolated = schedule.run_isolated

    def spy(source: Iterable[tuple[Job, ...]]) -> Iterator[tuple[Job, ...]]:
        for group in source:
            jobs.extend(group or ())
            yield group

    monkeypatch.setattr(
        schedule,
        "run_isolated",
        lambda f, split, *lanes, **more: isolated(f, split, *((spy(g), w) for g, w in lanes), **more),
    )

    changed = replace(known_scores.load_metric("si-sdr"), version="another")
    real = known_scores.load_metric
    monkeypatch.setattr(known_scores, "load_metric", lambda name: changed if name == "si-sdr" else real(name))
    run(tmp_path / "two")
    assert len(jobs) == 4
    assert {candidate.metrics for job in jobs for candidate in job.candidates} == {("si-sdr",)}


def test_files_are_known_by_what_they_hold(tmp_path: Path, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, suffix in (("ref", "wav"), ("dec", "wav"), ("moved/ref", "flac"), ("moved/dec", "flac")):
        (tmp_path / folder).mkdir(parents=True)
        wav = speech if "ref" in folder else 0.5 * speech
        pcm = np.round(wav * 32767).astype(np.int16)
        soundfile.write(tmp_path / folder / f"a.{suffix}", pcm, 16_000)

    def go(folder: Path, output: Path) -> bytes:
        arguments = ["--reference", str(folder / "ref"), "--decoded", str(folder / "dec")]
        assert main(["score", *arguments, "--metrics", CHEAP, "--output", str(output)]) == 0
        return (output / "rows.parquet").read_bytes()

    first = go(tmp_path, tmp_path / "one")
    shutil.copytree(tmp_path / "ref", tmp_path / "copy/ref")
    shutil.copytree(tmp_path / "dec", tmp_path / "copy/dec")
    with monkeypatch.context() as patch:
        forbid(patch)
        assert go(tmp_path / "copy", tmp_path / "two") == first
    assert go(tmp_path / "moved", tmp_path / "three") == first, "the same samples in another format"
    soundfile.write(tmp_path / "dec" / "a.wav", speech, 16_000)
    assert go(tmp_path, tmp_path / "four") != first, "the same name, other samples"


def test_identical_utterances_are_all_answered(tmp_path: Path, speech: np.ndarray) -> None:
    for folder in ("ref", "dec"):
        (tmp_path / folder).mkdir()
        for name in "abc":
            soundfile.write(tmp_path / folder / f"{name}.wav", speech, 16_000)
    for output in ("one", "two"):
        arguments = ["--reference", str(tmp_path / "ref"), "--decoded", str(tmp_path / "dec"), "--metrics", "si-sdr"]
        assert main(["score", *arguments, "--output", str(tmp_path / output)]) == 0
        assert read_run(tmp_path / output).rows["utterance"].tolist() == ["a", "b", "c"]


def test_codes_and_audio_come_back_as_they_were(tmp_path: Path) -> None:
    audio = Audio(np.linspace(-1.5, 1.5, 441, dtype=np.float32), 22_050)
    kinds = [
        Codes(441, np.arange(12).reshape(3, 4), (8, 9, 10)),
        Codes(441, payload=(b"ab", b"", b"c"), payload_bits=13),
    ]
    with Cache(tmp_path) as cache:
        for number, codes in enumerate(kinds):
            cache.store_decoded(key := content_key(number=number), codes, audio)
            kept = cache.decoded(key)
            assert kept is not None and kept.identity == audio.identity()
            assert kept.codes.bits == codes.bits and kept.codes.length == codes.length
            assert kept.codes.payload == codes.payload
            assert soundfile.read(kept.path, dtype="float32")[0].tolist() == audio.wav.tolist()
        kept.path.unlink()
        assert cache.decoded(key) is None, "audio that is gone is computed again"
        assert cache.decoded(content_key(number=99)) is None


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE pairings SET found = ''",
        "UPDATE pairings SET found = '[1]'",
        "UPDATE pairings SET found = '{\"lag_ms\": 1}'",
        "UPDATE scores SET value = 'much'",
        "UPDATE scores SET value = 9e999",
        "UPDATE recordings SET samples = 'many'",
        "UPDATE decoded SET codes = x'00'",
    ],
)
def test_rows_of_the_cache_that_are_damaged_are_computed_anew(damage: str, tmp_path: Path, own_cache: Path) -> None:
    import sqlite3

    command = ["run", "--codec", "pcm", "--metrics", "si-sdr,mel-2048-80-ln1p", "--limit", "2", "--output"]
    assert main([*command, str(tmp_path / "one")]) == 0
    with sqlite3.connect(own_cache / "cache.sqlite") as database:
        database.execute(damage)
    database.close()
    assert main([*command, str(tmp_path / "two")]) == 0
    one, two = ((tmp_path / name / "rows.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


def test_without_a_cache_that_another_program_locks_a_run_goes_on(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = run(tmp_path / "one")
    monkeypatch.setattr(cache, "WAIT", 0.05)
    with closing(sqlite3.connect(own_cache / "cache.sqlite")) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert run(tmp_path / "two") == expected
    assert "locked" in capsys.readouterr().err


def test_info_and_clear(tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "one")
    capsys.readouterr()
    assert main(["cache", "info"]) == 0
    assert f"folder: {own_cache}\nscores: 8\ndecoded utterances: 4\n" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert "scores: 0\ndecoded utterances: 0\n" in capsys.readouterr().out
    assert not list(own_cache.rglob("*.wav"))


def test_two_runs_at_once_share_a_cache(tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("one", "two")]
    command = [*EVALKIT, "run", "--codec", "opus@6k", "--limit", "8", "--metrics", CHEAP, "--output"]
    processes = [subprocess.Popen([*command, str(output)], stderr=subprocess.DEVNULL) for output in outputs]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    one, two = ((output / "rows.parquet").read_bytes() for output in outputs)
    assert one == two


def test_a_full_disk_ends_clearly_and_keeps_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = Cache.store_decoded
    written = []

    def fill(self: Cache, key: str, codes: Codes, audio: Audio) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(key)
        kept(self, key, codes, audio)

    output = tmp_path / "run"
    command = ["run", "--codec", "opus@6k", "--limit", "4", "--metrics", CHEAP, "--output", str(output)]
    with monkeypatch.context() as patch:
        patch.setattr(Cache, "store_decoded", fill)
        assert main(command) == 3
    error = capsys.readouterr().err
    assert "No space left" in error and "run the same command again" in error and "Traceback" not in error
    assert main(command) == 0, "no --overwrite is needed to go on"
    assert read_run(output).provenance["state"] == "finished"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_audio_that_finds_no_room_says_why() -> None:
    with pytest.raises(OSError) as caught:
        write(Path("/dev/full"), Audio(np.zeros(100_000, np.float32), 16_000))
    assert caught.value.errno == errno.ENOSPC


def kill_and_rerun(tmp_path: Path, times: int, limit: int, seed: int, more: str = "") -> None:
    """Kill a run at `times` random moments, then let it finish: the bytes are those of a run that was left alone."""

    def command(output: Path) -> list[str]:
        codecs = ["--codec", "opus@6k", "--codec", "pcm"]
        metrics = ["--metrics", f"{CHEAP},estoi,bitrate{more}"]
        return [*EVALKIT, "run", *codecs, *metrics, "--limit", str(limit), "--output", str(output)]

    expected = tmp_path / "expected"
    started = time.monotonic()
    subprocess.run([*command(expected), "--no-cache"], check=True, capture_output=True)
    took = time.monotonic() - started
    moments = random.Random(seed)
    output = tmp_path / "killed"
    for _ in range(times):
        shutil.rmtree(output, ignore_errors=True) if moments.random() < 0.3 else None
        process = subprocess.Popen(command(output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.2, took))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run([*command(output), "--overwrite"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("rows.parquet", "codes.parquet", "summary.csv"):
        assert (output / name).read_bytes() == (expected / name).read_bytes(), name


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    kill_and_rerun(tmp_path, times=1, limit=3, seed=0)


@pytest.mark.slow
@pytest.mark.usefixtures("ear_log")
@pytest.mark.parametrize("more", ["", ",ear"], ids=["waveforms", "a model beside"])
def test_twenty_kills_at_random_moments(more: str, tmp_path: Path) -> None:
    kill_and_rerun(tmp_path, times=20, limit=29, seed=1, more=more)

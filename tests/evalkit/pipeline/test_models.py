"""Metrics that hold a model, in a run: beside the others, in batches, with what they hear of originals kept, and with
what kills them. The model is the one of conftest.py."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from evalkit.audio import Audio
from evalkit.cache import Cache
from evalkit.cli import main
from evalkit.pipeline.jobs import Candidate, Job, Source
from evalkit.pipeline.known_scores import ScoreCache, score_key
from evalkit.pipeline.schedule import score_all
from evalkit.pipeline.workers import Processes
from evalkit.results.run import read_run
from evalkit.soundfiles import read

GOOD, KILLS, FAILS = 8000, 9000, 9001
"""Samples of recordings; the model dies of the second and has no memory for the third."""


def evalkit(code: int, *arguments: str | Path) -> str:
    """What the command says on stderr; its exit code is `code`."""
    done = subprocess.run(
        [sys.executable, "-m", "evalkit.cli", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def heard(log: Path, name: str = "ear") -> list[list[int]]:
    """Lengths of the recordings that the metric `name` heard at once, in order."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [[int(length) for length in line[3:]] for line in lines if line[1:3] == ["heard", name]]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three recordings in the folder `set`."""
    (tmp_path / "set").mkdir()
    for number in range(3):
        wav = 0.1 * np.random.default_rng(number).standard_normal(GOOD + number % 2)
        soundfile.write(tmp_path / "set" / f"{number}.wav", wav, 16_000)
    return tmp_path / "set"


def test_what_kills_a_model_or_takes_all_memory_costs_its_own_rows(ear_log: Path, tmp_path: Path) -> None:
    lines = ["utterance,reference,decoded,system"]
    for name, length in (("a", GOOD), ("fails", FAILS), ("kills", KILLS), ("z", GOOD)):
        wav = 0.1 * np.random.default_rng(length).standard_normal(length)
        soundfile.write(tmp_path / f"{name}.wav", wav, 16_000)
        for system in ("loud", "quiet"):
            soundfile.write(tmp_path / f"{name}-{system}.wav", wav * (1 if system == "loud" else 0.5), 16_000)
            lines.append(f"{name},{name}.wav,{name}-{system}.wav,{system}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    evalkit(4, "score", "--manifest", tmp_path / "pairs.csv", "--metrics", "ear,si-sdr", "--output", tmp_path / "run")
    rows = read_run(tmp_path / "run").rows
    lost = rows[rows["value"].isna()]
    assert set(lost["metric"]) == {"ear"}
    reasons = lost.groupby("utterance")["reason"].unique()
    assert reasons["kills"].tolist() == ["its process crashed: SIGKILL"]
    assert reasons["fails"].tolist() == ["OutOfMemoryError: out of memory, and no more to have"]
    found = rows[(rows["metric"] == "ear") & rows["value"].notna()]
    assert found["utterance"].tolist() == ["a", "z"] * 2 and (found["value"] == 0).tolist() == [True] * 2 + [False] * 2


def test_what_is_heard_of_originals_is_kept_for_other_codecs(ear_log: Path, recordings: Path, tmp_path: Path) -> None:
    def run(codec: str, *more: str) -> tuple[list[list[int]], bytes]:
        output = tmp_path / f"{codec}-{len(more)}"
        evalkit(0, "run", "--dataset", f"folder:{recordings}", "--codec", codec, "--metrics", "ear,si-sdr",
                "--output", output, *more)  # fmt: skip
        recordings_heard = heard(ear_log)
        ear_log.unlink()
        return recordings_heard, (output / "rows.parquet").read_bytes()

    first, _ = run("pcm")
    assert len(first) == 3, "pcm changes nothing, so that its audio is the original"
    second, rows = run("opus@6k")
    assert len(second) == 3, "opus's audio, and no original"
    third, anew = run("opus@6k", "--no-cache", "--jobs", "1")
    assert len(third) == 6 and anew == rows, "what was kept is what would be heard"
    light = ["run", "--dataset", f"folder:{recordings}", "--codec", "opus@6k", "--metrics", "si-sdr", "--no-cache"]
    assert main([*light, "--output", str(tmp_path / "light")]) == 0
    with_model = read_run(tmp_path / "opus@6k-3").rows
    expected = with_model[with_model["metric"] == "si-sdr"].reset_index(drop=True)
    assert read_run(tmp_path / "light").rows.equals(expected), "a model beside changes nothing for the others"


def test_what_is_heard_in_batches_is_kept_apart() -> None:
    alone = Job(Source(Path("a")), ())
    keys = {score_key("dnsmos-ovrl", "a", "b", replace(alone, batch=batch)) for batch in (1, 1, 4)}
    assert len(keys) == 2 and len({score_key("si-sdr", "a", "b", replace(alone, batch=batch)) for batch in (1, 4)}) == 1


class Elsewhere(Processes):
    """Another machine: no file of this one is there."""

    here = False

    def submit(self, function: Callable[[Any], Any], job: Any) -> Any:
        (one,) = job
        assert all(isinstance(source.content, Audio) for source in (one.reference, *(c.source for c in one.candidates)))
        return super().submit(function, job)


def test_audio_travels_to_other_machines(recordings: Path) -> None:
    original, other = (Source(path, read(path).identity()) for path in (recordings / "0.wav", recordings / "2.wav"))
    jobs = [Job(original, (Candidate(key, one, ("si-sdr",)),)) for key, one in enumerate((original, other))]
    values = {
        answer.key: answer.value
        for answers in score_all(jobs, lambda: jobs, ScoreCache(Cache(None)), Elsewhere(1))
        for answer in answers
    }
    assert values[0] == 100 and values[1] is not None and values[1] < 0


@pytest.mark.slow
def test_batches_are_of_one_length_unless_the_model_does_not_mind(
    ear_log: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", "--dataset", f"folder:{recordings}", "--codec", "opus@6k", "--codec", "codec2@1.2k"]
    command += ["--metrics", "ear,ear-pads", "--no-cache", "--batch", "4", "--output"]
    evalkit(0, *command, tmp_path / "four")
    together = heard(ear_log, "ear"), heard(ear_log, "ear-pads")
    assert sorted(together[0]) == [[GOOD] * 3] * 2 + [[GOOD + 1] * 3], (
        "an utterance: the original and two codecs' of it"
    )
    assert any(len(set(batch)) > 1 for batch in together[1]) and max(map(len, together[1])) == 4
    ear_log.unlink()
    monkeypatch.setenv("EAR_MEMORY", "1")
    evalkit(0, *command, tmp_path / "alone")
    assert {len(batch) for batch in heard(ear_log, "ear")} == {1, 3}, "too much at once, and then one by one"
    assert (tmp_path / "alone" / "rows.parquet").read_bytes() == (tmp_path / "four" / "rows.parquet").read_bytes()

"""Whenever a run is killed, the same command ends with the same files, byte for byte."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile

KILLS, ROUNDS = 50, 10
MULAW = f"{Path(__file__).parents[3] / 'docs' / 'plugin' / 'evalkit_mulaw.py'}:FAMILY"
LAUNCHER = """import os, sys
from evalkit import cli
import evalkit.pipeline.run, evalkit.metrics.mel, evalkit.metrics.si_sdr, pandas, pyarrow.parquet, scipy.signal
for line in sys.stdin:
    if (child := os.fork()) == 0:
        os.environ["EVALKIT_CACHE"], *arguments = line.rstrip("\\n").split("\\t")
        os.dup2(2, 1)
        os._exit(cli.main(arguments))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Starts each command in a process of its own without importing everything again."""


@pytest.mark.slow
def test_fifty_kills_change_no_byte(tmp_path: Path) -> None:
    """In ten rounds, each with a cache of its own, a run is killed and begun again, up to five times."""
    rng, noise = Random(0), np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for i in range(8):
        soundfile.write(tmp_path / "data" / f"u{i}.wav", 0.1 * noise.standard_normal(16_000), 16_000)
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=tmp_path,
    ) as launcher:  # fmt: skip

        def run(folder: str, rows: int | None = None) -> int:
            """The exit code of the command; killed once it has written `rows` rows, if it has not ended before."""
            assert launcher.stdin is not None and launcher.stdout is not None
            command = [
                f"{folder}-cache", "run", "--codec", "pcm", "--codec", MULAW, "--dataset", "folder:data", "--metrics",
                "si-sdr,mel-2048-80-ln1p", "--jobs", "1", "--save-audio", "--overwrite",
                "--output", folder,
            ]  # fmt: skip
            launcher.stdin.write("\t".join(command) + "\n")
            launcher.stdin.flush()
            process = int(launcher.stdout.readline())
            journal = tmp_path / folder / "rows.jsonl"
            if rows is not None:
                while _running(process) and _lines(journal) < rows:
                    time.sleep(0.001)
                time.sleep(rng.uniform(0, 0.02))
                if _running(process):
                    os.kill(process, signal.SIGKILL)
            return int(launcher.stdout.readline())

        assert run("whole") == 0
        expected, kills = _files(tmp_path / "whole"), 0
        for attempt in range(ROUNDS):
            for _ in range(KILLS // ROUNDS):
                kills += run(f"round{attempt}", rng.randrange(32)) == -signal.SIGKILL
            assert run(f"round{attempt}") == 0
            assert _files(tmp_path / f"round{attempt}") == expected
        assert kills >= 0.8 * KILLS, f"{kills} kills came before the end"
        launcher.stdin.close()  # type: ignore[union-attr]


def _running(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return -1


def _files(run: Path) -> dict[str, str]:
    """sha256 of the files of a run that depend on its data alone."""
    paths = [run / "rows.parquet", run / "codes.parquet", run / "utterances.parquet", run / "pairing.parquet"]
    paths += [run / "summary.csv", *(run / "audio").rglob("*.wav")]
    assert not (run / "rows.jsonl").exists() and not (run / "writing.lock").exists()
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

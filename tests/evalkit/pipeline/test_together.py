"""Several commands at once, and runs that are asked to end, in real processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from evalkit.results.run import read_run

CODEC = """
import pathlib, time
import numpy as np
from evalkit.codecs import Codes

class Waits:
    name, sample_rate, frame_rate, codebook_sizes, streaming, details = "waits", 16000, None, (8,), False, {}

    def encode(self, wav):
        pathlib.Path("started").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        self.wav = wav
        return Codes(len(wav), np.zeros((1, 4), np.int64), (8,))

    def decode(self, codes):
        return 0.5 * self.wav
"""
"""A codec that waits in its first utterance for the file `go`."""

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two recordings, the codec, and places of their own for the cache and what is temporary."""
    (tmp_path / "data").mkdir()
    (tmp_path / "temporary").mkdir()
    for name in "ab":
        soundfile.write(tmp_path / "data" / f"{name}.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 16_000), 16_000)
    (tmp_path / "waits.py").write_text(CODEC)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin(*more: str) -> "subprocess.Popen[str]":
    """`evalkit run` with the codec that waits."""
    command = ["run", "--codec", "waits.py:Waits", "--dataset", "folder:data", "--metrics", "si-sdr", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "evalkit", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGTERM, signal.SIGHUP)],
    )  # fmt: skip


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def evalkit(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "evalkit", *arguments], capture_output=True, text=True, timeout=300)


def values(run: Path) -> int:
    return int(read_run(run).rows["value"].notna().sum())


def test_runs_that_start_together_have_a_directory_each(folder: Path) -> None:
    (folder / "go").touch()
    both = [begin(), begin()]
    assert [process.wait(300) for process in both] == [0, 0], [process.communicate() for process in both]
    found = sorted((folder / "runs").iterdir())
    assert [values(run) for run in found] == [2, 2]


def test_a_directory_and_a_cache_in_use_are_refused(folder: Path) -> None:
    first = begin("--output", "run")
    wait_for(folder / "started", first)
    second = begin("--output", "run", "--overwrite")
    _, said = second.communicate(timeout=300)
    assert second.returncode == 2 and f"is being written by process {first.pid}" in said
    cleared = evalkit("cache", "clear")
    assert cleared.returncode == 3 and "in use by a run" in cleared.stderr
    (folder / "go").touch()
    assert first.wait(300) == 0 and values(folder / "run") == 2
    assert evalkit("cache", "clear").returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_that_is_asked_to_end_leaves_nothing_temporary(number: signal.Signals, code: int, folder: Path) -> None:
    process = begin("--output", "run")
    wait_for(folder / "started", process)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == code and "Traceback" not in said and "interrupted" in said
    assert not list((folder / "temporary").iterdir()) and not (folder / "run" / "writing.lock").exists()
    assert read_run(folder / "run").provenance.state.startswith("stopped early")
    (folder / "go").touch()
    again = begin("--output", "run")
    assert again.wait(300) == 0 and values(folder / "run") == 2
    assert not list((folder / "temporary").iterdir())

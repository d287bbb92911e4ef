"""The table of exit codes in docs/faults.md, over real processes: one line says what happened, no traceback does."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.commands import listing
from evalkit.results.rows import Row
from evalkit.results.run_directory import RunWriter

METRICS = {"pesq-wb": {"label": "PESQ-WB", "direction": "up", "version": "1", "decimals": 3}}
PATCHED = "import sys, time; from evalkit import cli; from evalkit.commands import listing\n"
"""`evalkit list` with another action, for what no argument brings about."""
BUG = f"{PATCHED}listing.show_list = lambda args: 1 / 0\nsys.exit(cli.main(['list', 'codecs']))"
NOWHERE = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere']\n"
"""No folder for temporary files."""
NOISY = f"""{PATCHED}import ctypes, os
def talk(args):
    ctypes.CDLL(None).printf(b"from a library in C\\n")
    os.write(1, b"to the descriptor\\n")
    print("a result")
    return 0
listing.show_list = talk
sys.exit(cli.main(['list', 'codecs']))"""
"""A codec that prints past Python."""
ENCODED = f"""{PATCHED}listing.show_list = lambda args: print("− é", flush=True) or 4
codes = []
for encoding in ("ascii", "latin-1", "cp1252"):
    sys.stdout.reconfigure(encoding=encoding)
    codes.append(cli.main(['list', 'codecs']))
sys.exit(max(codes))"""
"""Names that the terminal's encoding does not have."""
PROGRAM = """sys.argv = ['evalkit', 'list', 'codecs']
cli.program()"""
STAYS = f"""{PATCHED}import threading
def stay(args):
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("a result")
    return 4
listing.show_list = stay
cli.PATIENCE = 0.1
{PROGRAM}"""
"""A codec that leaves a thread."""
POOL = f"""{PATCHED}from concurrent.futures import ThreadPoolExecutor
def pool(args):
    listing.pool = ThreadPoolExecutor(1)
    return listing.pool.submit(int).result()
listing.show_list = pool
{PROGRAM}"""
"""A codec with a pool of threads, which wait for work."""
STREAMS = f"""{PATCHED}import contextlib, io, os
from evalkit.environment.contained import contained
HARM = '''sys.stdin.close()
sys.stdout.close()
sys.stderr.close()
sys.__stdout__.close()
sys.__stderr__.close()
sys.stdin = sys.stdout = sys.stderr = None
sys.stderr = open(os.devnull, "w")
sys.stderr = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8"); sys.stderr = None
sys.stderr = sys.stderr.detach(); sys.stderr.close()
os.close(0); os.close(1); os.close(2)
os.close(2); os.open(os.devnull, os.O_RDWR)
os.dup2(os.open(os.devnull, os.O_RDWR), 2)
os.dup2(0, 1); sys.__stdout__ = sys.__stderr__ = None'''
def harm(args):
    for number, one in enumerate(HARM.splitlines()):
        with contained():
            exec(one)
        print("a result")
        print("a message", file=sys.stderr)
        os.write(2, b"to the descriptor\\n")
    return 4
listing.show_list = harm
{PROGRAM}"""
"""Codecs that close or replace the standard streams."""
AT_THE_END = f"""{PATCHED}import atexit, os, threading
def register(args):
    for one in (lambda: print("kept"), lambda: os._exit(0), lambda: sys.exit(0), lambda: 1 / 0, threading.Event().wait):
        atexit.register(one)
    threading.Thread(target=lambda: os._exit(0)).start()
    print("a result")
    return 4
listing.show_list = register
cli.PATIENCE = 0.1
{PROGRAM}"""
"""Codecs that register functions for the end, or end the program from a thread."""
SLOW = f"""{PATCHED}def wait(args):
    print("ready", flush=True)
    time.sleep(60)
listing.show_list = wait
sys.exit(cli.main(['list', 'codecs']))"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs `good`, `worse` and `few`, and the baseline of the first."""
    folder = tmp_path_factory.mktemp("runs")
    for name, quality, count in (("good", 3.0, 20), ("worse", 2.0, 20), ("few", 3.0, 2)):
        with RunWriter(folder / name, ["c"], {"metrics": METRICS, "dataset": {"name": "set"}}) as writer:
            writer.add(Row("c", "set", f"u{i:02}", "pesq-wb", quality + i / 100) for i in range(count))
    assert main(["gate", str(folder / "good"), "--update", "--baseline", str(folder / "baseline.json")]) == 0
    return folder


def evalkit(*arguments: str, cwd: Path, **more: object) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"HF_HUB_CACHE": str(cwd / "hub"), "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
    environment.pop("PYTHONUNBUFFERED", None)  # what is written late fails late
    command = [sys.executable, *(("-c",) if "\n" in arguments[0] else ("-m", "evalkit")), *arguments]
    more = {"stdout": subprocess.PIPE} | more
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment, timeout=300, **more)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (0, ("list", "datasets"), ""),
        (0, ("gate", "good", "--baseline", "baseline.json"), ""),
        (1, ("gate", "worse", "--baseline", "baseline.json"), ""),
        (2, ("table", "nowhere"), "nowhere does not exist"),
        (2, ("run", "--codec", "no-such-codec"), "unknown codec"),
        (2, ("no-such-command",), "invalid choice"),
        (3, ("run", "--codec", "nanocodec@1.78k", "--output", "never"), "needs download"),
        (4, ("gate", "few", "--baseline", "baseline.json"), "not in the run"),
        (70, (BUG,), "this is a bug: ZeroDivisionError"),
    ],
)
def test_each_end_has_its_code(code: int, arguments: tuple[str, ...], said: str, runs: Path) -> None:
    done = evalkit(*arguments, cwd=runs)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files", "x"), "'x'. Finished work is kept: free some memory, or raise"),
        (MemoryError(), "evalkit: out of memory. Finished work is kept"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), "set TMPDIR to a folder"),
    ],
)
def test_what_the_system_lacks_is_3(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lack(args: object) -> None:
        raise error

    monkeypatch.setattr(listing, "show_list", lack)
    assert main(["list", "codecs"]) == 3 and said in capsys.readouterr().err


def test_a_bug_without_a_place_for_its_traceback_is_told(runs: Path) -> None:
    done = evalkit(NOWHERE + BUG, cwd=runs)
    assert done.returncode == 70 and "this is a bug: ZeroDivisionError: division by zero. Please report" in done.stderr


def test_a_disk_that_is_full_is_3(runs: Path) -> None:
    with open("/dev/full", "w") as full:
        for arguments in (("list", "codecs"), ("--version",)):  # more than a buffer holds, and less
            done = evalkit(*arguments, cwd=runs, stdout=full)
            assert done.returncode == 3 and "No space left" in done.stderr and "Traceback" not in done.stderr


def test_standard_output_is_for_results_alone(runs: Path) -> None:
    done = evalkit(NOISY, cwd=runs)
    assert (done.returncode, done.stdout) == (0, "a result\n")
    assert sorted(done.stderr.splitlines()) == ["from a library in C", "to the descriptor"]


def test_what_an_encoding_does_not_have_is_replaced(runs: Path) -> None:
    done = evalkit(ENCODED, cwd=runs, encoding="latin-1")
    assert (done.returncode, done.stdout, done.stderr) == (4, "? ?\n? é\n? é\n", "")


def test_a_thread_that_never_ends_is_not_waited_for(runs: Path) -> None:
    done = evalkit(STAYS, cwd=runs)
    assert (done.returncode, done.stdout) == (4, "a result\n") and "1 thread(s) of a plugin" in done.stderr


def test_idle_threads_of_a_pool_end(runs: Path) -> None:
    done = evalkit(POOL, cwd=runs)
    assert (done.returncode, done.stderr) == (0, "")


def test_codecs_that_close_the_standard_streams_end_nothing(runs: Path) -> None:
    done, count = evalkit(STREAMS, cwd=runs), 13
    assert (done.returncode, done.stdout) == (4, "a result\n" * count), done.stderr
    assert done.stderr == "a message\nto the descriptor\n" * count


def test_what_codecs_do_at_the_end_changes_no_exit_code(runs: Path) -> None:
    done = evalkit(AT_THE_END, cwd=runs)
    assert (done.returncode, done.stdout) == (4, "a result\n") and "Traceback" not in done.stderr
    said = done.stderr.splitlines()
    assert [line.rpartition("failed: ")[2] for line in said if line.startswith("evalkit: ")] == [
        "DeadlineError: took longer than 0.1 s", "ZeroDivisionError: division by zero",
        "SystemExit: 0", "SystemExit: 0",
    ]  # fmt: skip
    assert said[-1] == "kept"


@pytest.mark.parametrize("path", ["n" * 300, "n/" * 3000, "loop/x", "baseline.json/x"])
def test_paths_that_cannot_be_are_2(
    path: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    if not os.path.lexists("loop"):
        os.symlink("loop", "loop")
    for command in (
        ["run", "--codec", "pcm", "--metrics", "si-sdr", "--output", path], ["run", "--config", path],
        ["score", "--reference", path, "--decoded", path], ["gate", "good", "--baseline", path, "--update"],
        ["table", path], ["merge", path, "--output", path],
    ):  # fmt: skip
        code, said = main(command), capsys.readouterr().err
        assert code == 2 and said.startswith("evalkit: ") and said.count("\n") <= 2, (command, said)


SPECIAL = {
    "fifo": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "bytes": lambda path: path.write_bytes(b"\xff\0: ["),
    "deep": lambda path: path.write_text("[" * 20_000),
    "date": lambda path: path.write_text("seed: 2024-99-99\n"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_files_that_hold_no_options_rules_or_ratings_are_2(
    kind: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.yaml"
    SPECIAL[kind](path)
    good = str(runs / "good")
    for command in (
        ["run", "--config", path], ["run", "--suite", path], ["table", good, "--against", path],
        ["claims", good, "--claims", path], ["gate", good, "--baseline", path],
        ["gate", good, "--baseline", runs / "baseline.json", "--config", path],
        ["score", "--manifest", path], ["run", "--codec", "pcm", "--ids", path, "--output", tmp_path / "run"],
    ):  # fmt: skip
        code, said = main(list(map(str, command))), capsys.readouterr().err
        assert code == 2 and "file.yaml" in said and len(said) < 2500, (command, said)


def test_closed_streams_change_no_exit_code(runs: Path) -> None:
    for arguments, code in ((("table", "good"), 0), (("table", "nowhere"), 2)):
        script = "\n".join(  # closed before Python starts
            ["import os, sys", "os.close(0); os.close(1); os.close(2)",
             f"os.execv(sys.executable, [sys.executable, '-m', 'evalkit', *{arguments!r}])"]
        )  # fmt: skip
        assert evalkit(script, cwd=runs).returncode == code


def test_a_reader_that_goes_away_ends_nothing(runs: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        done = evalkit("list", "codecs", "--json", cwd=runs, stdout=nobody)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals(number: int, code: int, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # jobs in the background ignore some
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, error = process.communicate(timeout=300)
    assert process.returncode == code
    assert "interrupted" in error and "Traceback" not in error

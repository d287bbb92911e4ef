"""Code of others in this process: what it does to it is undone, or becomes an error."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from evalkit.environment.contained import contained, deadline, opening
from evalkit.errors import DeadlineError, MissingError, UsageError


def test_what_is_done_to_the_process_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sys.stdout, os._exit
    with pytest.raises(SystemExit) as caught, contained():
        print("noise")
        os.chdir("/")
        os._exit(0)
    assert caught.value.code == 0 and Path.cwd() == tmp_path and before == (sys.stdout, os._exit)
    print("a result")
    assert capsys.readouterr() == ("a result\n", "noise\n")


def test_streams_and_the_recursion_limit_are_put_back(capfd: pytest.CaptureFixture[str]) -> None:
    """The harm of tests/evalkit/test_exit_codes.py, where Python calls evalkit."""
    before, limit = (sys.stdin, sys.stdout, sys.stderr), sys.getrecursionlimit()
    with contained():
        sys.stderr.close()
        sys.stdin, sys.stdout, sys.stderr = None, None, None  # type: ignore[assignment]
        os.close(1)
        os.close(2)
        sys.setrecursionlimit(60)
    assert before == (sys.stdin, sys.stdout, sys.stderr) and limit == sys.getrecursionlimit()
    print("a result")
    os.write(2, b"a message")
    assert capfd.readouterr() == ("a result\n", "a message")


def test_a_process_that_comes_back_from_a_fork_ends() -> None:
    """Whatever it raises; one that ends itself has its own exit code."""
    for end, code in ((lambda: None, 0), (lambda: 1 / 0, 0), (lambda: os._exit(5), 5)):
        with contained():
            child = os.fork()
            if child == 0:
                end()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code


def test_blocks_of_several_threads_leave_the_process_as_it_was() -> None:
    """The first to begin is the first to end, and the second begins in it."""
    before, first_over, second_begun = (sys.stdout, os._exit), threading.Event(), threading.Event()

    def second() -> None:
        with contained():
            second_begun.set()
            first_over.wait(10)

    with contained():
        thread = threading.Thread(target=second)
        thread.start()
        second_begun.wait(10)
    first_over.set()
    thread.join()
    assert (sys.stdout, os._exit) == before


def test_a_deadline_holds_in_any_thread_and_for_code_that_goes_on_after_errors() -> None:
    reasons = []

    def stubborn() -> None:
        end = time.monotonic() + 10
        try:
            with deadline(0.1):
                while time.monotonic() < end:
                    try:
                        time.sleep(0.01)
                    except Exception:
                        continue
        except DeadlineError as error:
            reasons.append(str(error))

    with deadline(1e300):  # longer than timers go
        stubborn()
    thread = threading.Thread(target=stubborn)
    thread.start()
    thread.join()
    assert reasons == ["took longer than 0.1 s"] * 2


def test_what_comes_in_time_is_left_alone_in_any_thread() -> None:
    done = []

    def quick() -> None:
        with deadline(0.05):
            pass
        time.sleep(0.1)
        done.append(True)

    thread = threading.Thread(target=quick)
    thread.start()
    thread.join()
    assert done


def test_what_cannot_be_opened_is_a_sentence() -> None:
    for error in (ValueError("no"), SystemExit(0), MemoryError()):
        with (
            pytest.raises(MissingError, match=f"x cannot be opened: {type(error).__name__}"),
            opening("x cannot be opened"),
        ):
            raise error
    for own in (UsageError("own"), KeyboardInterrupt()):
        with pytest.raises(type(own)), opening("x cannot be opened"):
            raise own

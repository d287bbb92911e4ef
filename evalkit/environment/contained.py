"""Code of others (codecs, metrics, datasets), kept from doing to this process what a run does not survive."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import FrameType

from evalkit.errors import DeadlineError, EvalkitError, MissingError, describe
from evalkit.streams import Lent

LONGEST = 1e8
"""Seconds of the longest limit, three years: what is longer, the system's timers do not take."""


@contextmanager
def contained(seconds: float = 0.0) -> Iterator[None]:
    """Run the block with a limit of `seconds` (0: none). Of what the code in it does, this stays:

    - what it prints goes to standard error: standard output is for results;
    - the standard streams and their descriptors are open, and what they were, and the recursion limit is no lower;
    - `os._exit` raises SystemExit, which costs an utterance, instead of ending everything with exit code 0;
    - a process that it forks, and that comes back, ends: it would write the same rows once more;
    - the working folder is what it was, to which the paths of a run may be relative.
    """
    process, folder = os.getpid(), _working_folder()
    with state_kept, exit_refused:
        try:
            with deadline(seconds):
                yield
        finally:
            if os.getpid() != process:
                os._exit(0)
            if folder is not None and _working_folder() != folder:
                with suppress(OSError):
                    os.chdir(folder)


@contextmanager
def opening(what: str) -> Iterator[None]:
    """`contained`, for code without which nothing can be measured: whatever it raises becomes a MissingError that says
    that `what` failed; a sentence of evalkit's own stays."""
    try:
        with contained():
            yield
    except (EvalkitError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise MissingError(f"{what}: {describe(error)}") from error


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # deleted
        return None


class _Shared:
    """A context of the whole process: the first block of all threads enters it, the last one leaves it."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make, self._lock, self._inside = make, threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._context = self._make()
                self._context.__enter__()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._context.__exit__(None, None, None)


@_Shared
@contextmanager
def state_kept() -> Iterator[None]:
    """Standard output is standard error, and nobody can close it. The streams, their descriptors and a recursion limit
    that was lowered are put back."""
    streams, recursion = (sys.stdin, sys.stdout, sys.stderr), sys.getrecursionlimit()
    descriptors = [_copy(number) for number in range(3)]
    sys.stdout = sys.stderr = Lent(sys.stderr) if sys.stderr else sys.stderr
    try:
        yield
    finally:
        sys.setrecursionlimit(max(recursion, sys.getrecursionlimit()))
        sys.stdin, sys.stdout, sys.stderr = streams
        for number, copy in enumerate(descriptors):
            if copy is not None:
                os.dup2(copy, number)
                os.close(copy)


def _copy(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # nothing is open there
        return None


@_Shared
@contextmanager
def exit_refused() -> Iterator[None]:
    """`os._exit` raises SystemExit in this process, and ends those that it forks."""
    process, leave = os.getpid(), os._exit

    def refuse(code: int) -> None:
        if os.getpid() != process:
            leave(code)
        raise SystemExit(code)

    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise DeadlineError in the block after `seconds` (0: never).

    In the main thread of systems that have SIGALRM it interrupts Python code, sleeping and waiting; in other threads it
    interrupts Python code, once what that calls has returned. C code that never returns goes on.
    """
    seconds = min(seconds, LONGEST)
    if not seconds:
        yield
    elif hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread():
        with _alarm(seconds):
            yield
    else:
        with _from_beside(seconds):
            yield


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def expire(number: int, frame: FrameType | None) -> None:
        raise _error(seconds)

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _from_beside(seconds: float) -> Iterator[None]:
    """By a second thread, which raises the error in this one."""
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    over = False

    def expire() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(DeadlineError))

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                over = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # what came too late
            timer.cancel()
    except DeadlineError as error:
        if error.args:
            raise
        raise _error(seconds) from None


def _error(seconds: float) -> DeadlineError:
    return DeadlineError(f"took longer than {seconds:g} s")

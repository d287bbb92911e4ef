"""Code of others (codecs, metrics, datasets), kept from doing to this process what a run does not survive."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from evalkit.errors import DeadlineError, EvalkitError, MissingError, describe

_lock = threading.Lock()
_inside = 0
"""Blocks under way, of all threads."""
_before: tuple[Any, Any] = (None, None)
"""Standard output and os._exit outside of them."""


@contextmanager
def contained(seconds: float = 0.0) -> Iterator[None]:
    """Run the block with a limit of `seconds` (0: none). Of what the code in it does, this stays:

    - what it prints goes to standard error: standard output is for results;
    - `os._exit` raises SystemExit, which costs an utterance, instead of ending everything with exit code 0;
    - a process that it forks, and that comes back, ends: it would write the same rows once more;
    - the working folder is what it was, to which the paths of a run may be relative.
    """
    process, folder = os.getpid(), _working_folder()
    _enter()
    try:
        with deadline(seconds):
            yield
    finally:
        if os.getpid() != process:
            _before[1](0)
        _leave()
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


def _enter() -> None:
    global _inside, _before
    with _lock:
        if not _inside:
            _before = sys.stdout, os._exit
            process, leave = os.getpid(), os._exit

            def refuse(code: int) -> None:
                if os.getpid() != process:
                    leave(code)
                raise SystemExit(code)

            sys.stdout, os._exit = sys.stderr, refuse  # type: ignore[assignment]
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside:
            sys.stdout, os._exit = _before


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise DeadlineError in the block after `seconds` (0: never).

    In the main thread of systems that have SIGALRM it interrupts Python code, sleeping and waiting; in other threads it
    interrupts Python code, once what that calls has returned. C code that never returns goes on.
    """
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

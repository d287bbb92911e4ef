"""A time limit for somebody else's code in this process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from evalkit.errors import DeadlineError


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise DeadlineError in the block after `seconds` (0: never).

    It interrupts Python code, sleeping and waiting. It works in the main thread of systems that have SIGALRM; in other
    threads, and in C code that never returns, the block goes on.
    """

    def expire(number: int, frame: FrameType | None) -> None:
        raise DeadlineError(f"took longer than {seconds:g} s")

    if not seconds or not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

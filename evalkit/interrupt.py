"""Ctrl-C that is not lost, and the other signals that ask a command to end.

Python raises KeyboardInterrupt wherever it happens to be. In a destructor, or in C code with nobody to hand it to (PyAV
and soundfile have such places), it is dropped, and the work goes on with half a result, or ends in another error. So it
is remembered, and those who take results from foreign code ask for it, whatever came out. SIGTERM and SIGHUP end a
command the same way, so that what is temporary is removed.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_received: signal.Signals | None = None


@contextmanager
def remembered() -> Iterator[None]:
    """While this lasts, `check` knows of every signal that asks to end. Where one is ignored, as Ctrl-C is for jobs in
    the background, or somebody else's concern, as in a thread, it stays so."""
    global _received
    _received = None
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: signal.getsignal(one) for one in SIGNALS}
    mine = [one for one, handler in before.items() if handler in (signal.default_int_handler, signal.SIG_DFL)]
    for one in mine:
        signal.signal(one, _remember)
    try:
        yield
    finally:
        _received = None  # it was answered: what is read next is not interrupted by it
        for one in mine:
            signal.signal(one, before[one])


def check() -> None:
    """KeyboardInterrupt, if there was a signal."""
    if _received is not None:
        raise KeyboardInterrupt(int(_received))


def _remember(number: int, frame: FrameType | None) -> None:
    global _received
    _received = signal.Signals(number)
    raise KeyboardInterrupt(number)

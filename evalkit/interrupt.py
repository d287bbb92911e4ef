"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever it happens to be. In a destructor, or in C code with nobody to hand it to (PyAV
and soundfile have such places), it is dropped, and the work goes on with half a result, or ends in another error. So it
is remembered, and those who take results from foreign code ask for it, whatever came out.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_pressed = False


@contextmanager
def remembered() -> Iterator[None]:
    """While this lasts, `check` knows of every Ctrl-C. Where that is ignored, as in jobs in the background, or somebody
    else's concern, as in a thread, it stays so."""
    global _pressed
    _pressed = False
    in_main = threading.current_thread() is threading.main_thread()
    if mine := in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        _pressed = False  # it was answered: what is read next is not interrupted by it
        if mine:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def check() -> None:
    """KeyboardInterrupt, if there was one."""
    if _pressed:
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed = True
    signal.default_int_handler(number, frame)

"""Signals that ask a command to end are neither lost nor answered twice."""

import os
import signal

import pytest

from evalkit import interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_swallowed_is_remembered(number: signal.Signals) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with interrupt.remembered():
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
                signal.sigtimedwait([], 1)
            with pytest.raises(KeyboardInterrupt) as caught:
                interrupt.check()
            assert caught.value.args == (int(number),)
        interrupt.check()  # it was answered
        assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)
    finally:
        signal.signal(signal.SIGINT, before)


def test_without_a_signal_nothing_happens() -> None:
    with interrupt.remembered():
        interrupt.check()

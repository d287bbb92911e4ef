"""Standard output and error that take any text and that nobody needs to read to the end."""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import TextIOWrapper
from typing import Any, TextIO, TypeGuard

LONGEST_LINE = 2000
"""Characters of a line of a message: a name in it may be a whole file."""

_one_at_a_time = threading.Lock()


@contextmanager
def tolerant() -> Iterator[None]:
    """While this lasts, what a stream's encoding does not have is printed as `?`, and a reader that goes away, as in
    `evalkit list codecs | head`, ends nothing: the command goes on to its own end and exit code. Standard output is for
    results alone: what libraries in C print there goes to standard error.

    Raises:
        OSError: The results cannot be written, for want of space for instance.
    """
    for number in range(3):
        _occupy(number)
    with ExitStack() as stack:
        output, messages = stack.enter_context(_results_alone()), stack.enter_context(_messages())
        for stream, redirect, needed in ((output, redirect_stdout, True), (messages, redirect_stderr, False)):
            if stream is None or stream.closed:  # before the start, or by a codec before the end
                stack.enter_context(redirect(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
                continue
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
            tolerated: Any = _Tolerant(stream, needed)
            stack.enter_context(redirect(tolerated))
            stack.callback(tolerated.flush)
        yield


@contextmanager
def without_messages_of_c() -> Iterator[None]:
    """While this lasts, what libraries in C print to standard error is lost, such as that they have started."""
    with _one_at_a_time:
        _occupy(2)
        with open(os.devnull, "wb") as nowhere, _redirected(2, nowhere.fileno()):
            yield


def flush_c() -> None:
    """Write out what libraries in C have printed so far."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


def _occupy(number: int) -> None:
    """Where nothing is open as the descriptor `number`, nothing else shall be: code in C prints there."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free


@contextmanager
def _results_alone() -> Iterator[TextIO | None]:
    """Standard output by another descriptor, while its own leads to standard error."""
    ours = sys.stdout
    if not _is_standard(ours, 1):
        yield ours
        return
    ours.flush()
    with _redirected(1, 2) as kept, _open_like(ours, kept) as results:
        yield results


@contextmanager
def _redirected(number: int, to: int) -> Iterator[int]:
    """The descriptor `number` leads where `to` does; gives another one for where it led before."""
    flush_c()
    kept = os.dup(number)
    os.dup2(to, number)
    try:
        yield kept
    finally:
        flush_c()
        os.dup2(kept, number)
        os.close(kept)


@contextmanager
def _messages() -> Iterator[TextIO | None]:
    """Standard error, also once somebody has closed Python's own object for it."""
    ours = sys.stderr
    if not _is_standard(ours, 2):
        yield ours
        return
    ours.flush()
    with _open_like(ours, 2) as messages:
        yield messages


def _is_standard(stream: Any, number: int) -> TypeGuard[TextIOWrapper]:
    """Whether `stream` is Python's own for the descriptor `number`: neither closed nor redirected by somebody."""
    own = (sys.__stdin__, sys.__stdout__, sys.__stderr__)[number]
    return isinstance(stream, TextIOWrapper) and stream is own and not stream.closed and stream.fileno() == number


def _open_like(stream: TextIOWrapper, descriptor: int) -> TextIO:
    at_once = stream.line_buffering or stream.write_through
    return open(descriptor, "w", buffering=1 if at_once else -1, encoding=stream.encoding, closefd=False)


class Lent:
    """`stream`, which who borrows it cannot close, nor by what it makes of its buffer."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> "Lent":
        """The binary stream below it, lent as well."""
        return Lent(self._stream.buffer)

    def detach(self) -> "Lent":
        """The binary stream below it, without a parting."""
        return self.buffer

    def close(self) -> None:
        """Leave it open."""


class _Tolerant(Lent):
    """Lent, and its reader may go away; where it is not `needed`, nor is room for what is written."""

    def __init__(self, stream: Any, needed: bool) -> None:
        super().__init__(stream)
        self._needed = needed

    def write(self, text: str) -> int:
        with self._tolerance():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._tolerance():
            self._stream.flush()

    @contextmanager
    def _tolerance(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._discard()
            if self._needed and not isinstance(error, BrokenPipeError):
                raise

    def _discard(self) -> None:
        """Send what is still in the buffer, and all that follows, nowhere: Python writes it when it ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def visible(text: str) -> str:
    r"""`text` in one line of printable characters: all others as Python's escapes (`\n`, `\x1b`, `\udcff`)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def visible_lines(message: object) -> str:
    """`message` for standard error: its lines stay, whatever control characters a name in it may have, and however long
    it is."""
    lines = map(visible, str(message).split("\n"))
    return "\n".join(line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …" for line in lines)

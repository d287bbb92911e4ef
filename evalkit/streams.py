"""Standard output and error that take any text and that nobody needs to read to the end."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from io import TextIOWrapper
from typing import Any


@contextmanager
def tolerant() -> Iterator[None]:
    """While this lasts, what a stream's encoding does not have is printed as `?`, and a reader that goes away, as in
    `evalkit list codecs | head`, ends nothing: the command goes on to its own end and exit code."""
    with ExitStack() as stack:
        for stream, redirect in ((sys.stdout, redirect_stdout), (sys.stderr, redirect_stderr)):
            if stream is None:  # closed before the start
                continue
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
            tolerated: Any = _Tolerant(stream)
            stack.enter_context(redirect(tolerated))
            stack.callback(tolerated.flush)
        yield


class _Tolerant:
    """`stream`, whose reader may go away."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._discard()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()

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
    """`message` for standard error: its lines stay, whatever control characters a name in it may have."""
    return "\n".join(map(visible, str(message).split("\n")))

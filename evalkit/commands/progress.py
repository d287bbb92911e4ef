"""Progress on standard error: a bar on a terminal, a plain line now and then elsewhere."""

import math
import sys
import time
from types import TracebackType

from evalkit.streams import visible

PLAIN_INTERVAL = 10.0
"""Seconds between plain lines."""


class Progress:
    """Counts items; used in a `with` statement, with `start` called when their number is known and `advance` for every
    finished one."""

    def __init__(self, unit: str, scale: float = 1) -> None:
        """`unit` is what is counted; with `scale`, how many of them people read as one: bytes as MB by 1e6."""
        self.unit, self.scale, self.total, self.done = unit, scale, 0, 0.0
        self._started = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                *((MofNCompleteColumn(), TextColumn(unit)) if scale == 1 else (DownloadColumn(),)),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )

    def __enter__(self) -> "Progress":
        return self

    def start(self, total: int) -> None:
        """There are `total` items to do."""
        self.total = total
        self._started = self._last = time.monotonic()
        if self._bar:
            self._task = self._bar.add_task("", total=total)
            self._bar.start()

    def note(self, text: str) -> None:
        """Print a sentence, above the bar where there is one."""
        if self._bar:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr)

    def advance(self, what: str, count: float = 1) -> None:
        """`count` more are done, of one a part as well; `what` is under way."""
        self.done += count
        if math.isclose(self.done, round(self.done)):  # parts add up
            self.done = round(self.done)
        what = visible(what)
        if self._bar:
            self._bar.update(self._task, completed=self.done, description=what)
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_INTERVAL or (count and self.done == self.total):
            self._last = now
            took = now - self._started
            left = f", {took / self.done * (self.total - self.done):.0f} s left" if 0 < self.done < self.total else ""
            counts = f"{self.done // self.scale:.0f}/{self.total / self.scale:.0f}"
            print(f"{counts} {self.unit}, {took:.0f} s{left} ({what})", file=sys.stderr)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

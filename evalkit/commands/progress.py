"""Progress on standard error: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType

from evalkit.streams import visible

PLAIN_INTERVAL = 10.0
"""Seconds between plain lines."""


class Progress:
    """Counts `total` items; used in a `with` statement, with `advance` called for every finished item."""

    def __init__(self, total: int, unit: str) -> None:
        self.total, self.unit, self.done = total, unit, 0
        self._started = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def advance(self, what: str, count: int = 1) -> None:
        self.done += count
        what = visible(what)
        if self._bar:
            self._bar.update(self._task, advance=count, description=what)
            return
        now = time.monotonic()
        if now - self._last >= PLAIN_INTERVAL or (count and self.done == self.total):
            self._last = now
            print(f"{self.done}/{self.total} {self.unit}, {now - self._started:.0f} s ({what})", file=sys.stderr)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

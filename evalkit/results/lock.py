"""One writer for a run directory: a file that names the process that writes it."""

import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from evalkit.errors import UsageError
from evalkit.files import read_bytes

NAME = "writing.lock"
MOMENT = 0.1
"""Seconds that another run may need to fill in a lock that it has made."""


class Lock:
    """Held while a run is written; used in a `with` statement. One that a killed process left is taken over: on this
    machine by its process id, from another machine never."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def __enter__(self) -> "Lock":
        owner = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": _started(os.getpid())})
        for _ in range(2):
            try:
                with self._path.open("x", encoding="utf-8") as file:
                    file.write(owner)
                return self
            except FileExistsError:
                self._remove(self._left_over())
            except OSError:  # a full disk, on which an empty file still fits
                with suppress(OSError):
                    self._path.unlink()
                raise
        raise UsageError(f"{self._path.parent} is being written by another run: choose another --output")

    def _left_over(self) -> bytes:
        """What the lock holds; raises UsageError where its owner lives."""
        content, owner = self._read()
        if owner is None:  # cut off, gone meanwhile, or about to be written
            time.sleep(MOMENT)
            content, owner = self._read()
        if owner is None:
            return content
        pid, host, started = owner
        if host != socket.gethostname() or (_alive(pid) and started == _started(pid)):
            raise UsageError(
                f"{self._path.parent} is being written by process {pid} on {host}: wait for it, choose another "
                f"--output, or delete {self._path} if that process is gone"
            )
        return content

    def _read(self) -> tuple[bytes, tuple[int, str, object] | None]:
        """The lock, and process id, host and start of its owner where it says so."""
        content = b""
        try:
            content = read_bytes(self._path)
            owner = json.loads(content)
            return content, (int(owner["pid"]), str(owner["host"]), owner.get("started"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return content, None

    def _remove(self, left_over: bytes) -> None:
        """Remove the lock, unless it holds something else than `left_over` by now: another run was faster."""
        if self._path.is_dir():
            self._path.unlink()  # raises what is wrong with it
        aside = self._path.with_name(f".{NAME}-{uuid4().hex}")
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return
        if aside.is_file() and aside.read_bytes() != left_over:
            aside.rename(self._path)
        else:
            aside.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str | None:
    """When the process began, in ticks since boot: tells it from a later one with the same id. None where that is not
    known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None

"""One writer for a run directory: a file that names the process that writes it."""

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from evalkit.errors import UsageError
from evalkit.files import read_bytes

NAME = "writing.lock"


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
                self._refuse_living_owner()
                self._path.unlink(missing_ok=True)
            except OSError:  # a full disk, on which an empty file still fits
                with suppress(OSError):
                    self._path.unlink()
                raise
        raise UsageError(f"{self._path.parent} is being written by another run: choose another --output")

    def _refuse_living_owner(self) -> None:
        try:
            owner = json.loads(read_bytes(self._path))
            pid, host = int(owner["pid"]), str(owner["host"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return  # gone meanwhile, or cut off while it was being written
        if host != socket.gethostname() or (_alive(pid) and owner.get("started") == _started(pid)):
            raise UsageError(
                f"{self._path.parent} is being written by process {pid} on {host}: wait for it, choose another "
                f"--output, or delete {self._path} if that process is gone"
            )

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

"""Replace a file as a whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` that takes its place when the block ends without an error.

    Whoever reads `path` finds the old file or the new one, never a part, whenever the writer is killed. Two writers do
    not share a temporary file; the last one to finish wins.

    A link stays, and the file behind it is replaced. A device or a pipe is written to as it is, and never replaced.

    Args:
        path: the file to write or replace; its folder is made.

    Yields:
        A path beside the file itself with its suffix, which nothing occupies yet.
    """
    path = Path(os.path.realpath(path))
    # Beside the file itself, not beside a link to it: a rename cannot cross file systems.
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

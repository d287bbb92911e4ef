"""Paths as people give them and as they are shown, and replacing a file whole or not at all."""

import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def expanded(path: Path | str) -> Path:
    """`path` with `~` and `~user` at its start replaced, where there is such a user."""
    return Path(os.path.expanduser(path))


def shown(path: Path | str) -> str:
    """`path` as text that can be printed and stored: bytes of a name that are not UTF-8 become `\\xdf`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def nfc(name: str) -> str:
    """`name` with its accents composed. macOS and some archives store file names with the accents apart."""
    return unicodedata.normalize("NFC", name)


def locate(folder: Path, name: str) -> Path:
    """The file that `name`, a path of its own or one relative to `folder`, stands for. Where there is none of exactly
    that name, one whose accents are composed otherwise is taken; where there is none at all, the path as given."""
    path = folder / expanded(name)
    forms = [folder / expanded(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")]
    return next((one for one in (path, *forms) if os.path.lexists(one)), path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to. It takes the place of `path` when the block ends, and is removed where it
    fails: a reader never sees half a file, and a full disk costs nothing that was there before.

    A link stays, and the file behind it is replaced. What is no regular file, a device or a pipe, is written to as it
    is: it must never be replaced.

    Raises:
        OSError: where the folder cannot be made or the file cannot be put there.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid4().hex}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

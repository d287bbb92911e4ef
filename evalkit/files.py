"""Paths as people give them and as they are shown."""

import os
import unicodedata
from pathlib import Path


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

"""Paths as people give them and as they are shown."""

import errno
import hashlib
import os
import re
import unicodedata
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with `~` and `~user` at its start replaced, where there is such a user."""
    return Path(os.path.expanduser(path))


def is_special(path: Path) -> bool:
    """Whether `path` is a folder, or a pipe or a device, reading which may never end."""
    return path.exists() and not path.is_file()


def read_bytes(path: Path) -> bytes:
    """What the file `path` holds; raises OSError where it `is_special`."""
    if is_special(path):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return path.read_bytes()


def shown(path: Path | str) -> str:
    """`path` as text that can be printed and stored: bytes of a name that are not UTF-8 become `\\xdf`."""
    text = os.fspath(path)
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # halves of characters, which no path has
        return text.encode("utf-8", "backslashreplace").decode()


LONGEST = 100
"""Characters of a name that its file name keeps."""
ODD = re.compile(r"^$|^\.|\.$|-[0-9a-f]{10}$")
"""Plain names of hidden files, those whose end some disks drop, and those that may be another's file name."""


def no_folder(path: Path) -> str:
    """What is wrong with `path`, which should be a folder."""
    return f"{shown(path)} {'is not a folder' if os.path.lexists(path) else 'does not exist'}"


def slug(name: str) -> str:
    """`name` as a file name: different names have different ones, on disks that ignore case as well. A name that is not
    plain, or long, is cut and ends in a hash of the whole."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.@") else "_" for c in name)
    if plain == name.lower() and len(name) <= LONGEST and not ODD.search(name):
        return name
    return f"{plain[:LONGEST].strip('.')}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:10]}"


def is_storable(value: object) -> bool:
    """Whether `value` is a text that UTF-8 can hold."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def is_text(value: object) -> bool:
    """Whether `value` can name something: a text that is not blank and that UTF-8 can hold."""
    return is_storable(value) and bool(str(value).strip())


def nfc(name: str) -> str:
    """`name` with its accents composed. macOS and some archives store file names with the accents apart."""
    return unicodedata.normalize("NFC", name)


def locate(folder: Path, name: str) -> Path:
    """The file that `name`, a path of its own or one relative to `folder`, stands for. Where there is none of exactly
    that name, one whose accents are composed otherwise is taken; where there is none at all, the path as given."""
    path = folder / expanded(name)
    forms = [folder / expanded(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")]
    return next((one for one in (path, *forms) if os.path.lexists(one)), path)

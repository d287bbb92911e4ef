"""Files that are downloaded: pinned, verified, with their size and license. Finding them asks no network.

Files of the Hugging Face hub lie where huggingface_hub keeps them (HUB/models--OWNER--NAME/snapshots/REVISION/FILE), so
that other programs share them and only downloading needs that package. Files with an address of their own lie in a
folder that their `kept` names. Where a file's sha256 is known it has to match; where it is not, the file's own sha256
stands in the results. A file that is code (TorchScript) is opened only with a sha256 that it matches: one that is
recorded here, or one that the user has pinned with `evalkit fetch NAME --sha256 HEX`. A mirror (mirror.py) may stand in
for either: for the places, and for what is recorded.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO

from evalkit.environment.extras import install
from evalkit.environment.folders import data_folder, home_folder, hub_folder, torch_hub
from evalkit.environment.mirror import mirror
from evalkit.errors import MissingError, UsageError
from nanocodec.atomic import replacing

Advance = Callable[[str, int], None]
"""Told a file's name and how many more of its bytes have come."""
BLOCK = 2**20
SETTLED_NS = 2 * 10**9
"""Age of a file's last change from which on its times tell it from any later change: file systems round them."""
_DIGESTS: dict[tuple[int, ...], str] = {}


class AbsentError(MissingError):
    """The hub answers, and the repository has no such file at that revision."""


@dataclass(frozen=True)
class File:
    """One file that can be downloaded."""

    name: str
    """Path in its repository, or the file's name."""
    license: str
    size: int
    """Bytes. Without a recorded sha256: what the publisher or the model's shape says, or 0 where neither does."""
    repository: str = ""
    """OWNER/NAME on the Hugging Face hub; empty for a file with an address of its own."""
    revision: str = "main"
    """A commit, or `main` where none is known."""
    url: str = ""
    """Of a file on no hub."""
    kept: str = ""
    """Where such a file is kept: a path below the data folder; with `torch:` before it, below `torch_hub()`; with
    `home:`, below the user's own folder."""
    sha256: str | None = None
    code: bool = False
    """Whether opening the file runs what is in it."""

    def __str__(self) -> str:
        return f"{self.repository}/{self.name}" if self.repository else self.name

    @property
    def size_text(self) -> str:
        """Its size for people."""
        if not self.size:
            return "size not known"
        return megabytes(self.size) if self.sha256 else f"about {megabytes(self.size)}"

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        at = "" if self.revision == "main" else f" at revision {self.revision[:12]}"
        return f"{self.repository}{at}" if self.repository else self.url

    def find(self) -> Path | None:
        """The file, where it is on this machine; what is in it is not looked at."""
        if not self.repository:
            return path if (path := self._kept_at()).is_file() else None
        folder = self._folder()
        revision = self.revision
        if revision == "main":
            reference = folder / "refs" / "main"
            if not reference.is_file():
                return None
            revision = reference.read_text(encoding="utf-8").strip()
        path = folder / "snapshots" / revision / self.name
        return path if path.is_file() else None

    @property
    def key(self) -> str:
        """What names it in a mirror's file."""
        return f"{self.repository}/{self.name}" if self.repository else self.url

    @property
    def pin(self) -> str | None:
        """The sha256 that the file must have: that of the mirror, recorded with it, or pinned by the user; None where
        there is none of these."""
        return mirror().sha256.get(self.key) or self.sha256 or _pins().get(str(self))

    @property
    def pinned(self) -> bool:
        """Whether anything says which file this is: its sha256, or a commit of its repository."""
        return self.pin is not None or (bool(self.repository) and self.revision != "main")

    @property
    def replaced(self) -> str:
        """The mirror's file whose sha256 stands in for the recorded one, or for none; "" where none does."""
        return mirror().name if (found := mirror().sha256.get(self.key)) and found != self.sha256 else ""

    def open(self) -> Path:
        """The file, verified. Raises MissingError where it is not here, is not what was pinned, or is code without a
        pin."""
        path = self.find()
        if path is None:
            raise MissingError(f"{self} is not on this machine")
        if self.pin is None and self.code:
            raise MissingError(
                f"{path} is code and its sha256 is not recorded, so it is not opened. Compare it with a source you "
                f"trust, such as the page of {self.repository} on the Hub, and pin it: evalkit fetch NAME --sha256 HEX"
            )
        if self.pin is not None and (found := sha256(path)) != self.pin:
            # Of the hub's cache, whose names are links, what has to go is what the link points to.
            raise MissingError(
                f"{path.resolve()} is not the pinned file: its sha256 is {found}, not {self.pin}. Delete it"
            )
        return path

    def fetch(self, advance: Advance) -> Path:
        """The file, downloaded where it is not here, and verified as `open` does.

        Args:
            advance: Is told how many more bytes have come.

        Raises:
            MissingError: It cannot be had now: what has come of a file whose sha256 is known stays, and the next try
                goes on from there. Or what came is not what was pinned: it is deleted.
        """
        if self.find() is not None:
            return self.open()
        try:
            self._download(advance)
        except MissingError:
            raise
        except Exception as error:  # offline, gated, gone: each library has its own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            if _offline(error):
                raise MissingError(
                    f"{self} ({self.size_text}, {self.license}) cannot be downloaded: there is no network, or "
                    f"{self.origin} cannot be reached ({reason}). Run the same command on a machine with a network, "
                    f"and copy {self._folder()} from there to the same place here"
                ) from error
            kind = AbsentError if type(error).__name__ == "RemoteEntryNotFoundError" else MissingError
            raise kind(f"{self} ({self.origin}) cannot be downloaded now: {reason}") from error
        if self.pin is not None and (path := self.find()) and (found := sha256(path)) != self.pin:
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise MissingError(
                f"{self} ({self.origin}) is not the pinned file: the download has the sha256 {found}, not {self.pin}; "
                "it was not kept"
            )
        return self.open()

    def _download(self, advance: Advance) -> None:
        if not self.repository:
            _download(
                mirror().address(self.url),
                self._kept_at(),
                lambda count: advance(self.name, count),
                resume=self.pin is not None,
            )
            return
        try:
            from huggingface_hub import hf_hub_download
        except ImportError as error:
            raise MissingError(f"{self} is on the Hugging Face Hub, which needs a package: {install('hub')}") from error
        hf_hub_download(self.repository, self.name, revision=self.revision)
        advance(self.name, self.size)

    def _folder(self) -> Path:
        """What to copy to bring the file from another machine: of the hub, its repository's whole folder."""
        return hub_folder() / f"models--{self.repository.replace('/', '--')}" if self.repository else self._kept_at()

    def _kept_at(self) -> Path:
        place, colon, rest = self.kept.partition(":")
        return {"torch": torch_hub(), "home": home_folder()}[place] / rest if colon else data_folder() / self.kept


OFFLINE = {
    "gaierror", "ConnectionRefusedError", "ConnectionError", "ConnectError", "ConnectTimeout", "OfflineModeIsEnabled",
}  # fmt: skip
"""Classes of errors, of several libraries, that say that no connection came about."""


def _offline(error: BaseException | None) -> bool:
    """Whether `error`, or what led to it, says that there is no network."""
    while error is not None:
        if OFFLINE & {type(error).__name__, type(getattr(error, "reason", None)).__name__}:
            return True
        error = error.__cause__ or error.__context__
    return False


def sha256(path: Path) -> str:
    """sha256 of a file's bytes.

    Remembered within this process only, and only while nothing tells that the file changed: device, inode, size and
    both times. Path, size and time of a file on a disk say too little: a checkpoint that is written over may have all
    three of the one before.
    """
    with path.open("rb") as file:
        before = _identity(os.fstat(file.fileno()))
        if before in _DIGESTS:
            return _DIGESTS[before]
        digest = file_digest(file, "sha256").hexdigest()
        after = _identity(os.fstat(file.fileno()))
    if before == after and time.time_ns() - max(after[-2:]) > SETTLED_NS:
        _DIGESTS[after] = digest
    return digest


def _identity(about: os.stat_result) -> tuple[int, ...]:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def pin(file: File, digest: str) -> None:
    """Remember that `file` must have the sha256 `digest`; raises UsageError for no sha256, or where it is recorded."""
    if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
        raise UsageError(f"{digest!r} is not a sha256 (64 hexadecimal digits)")
    if file.sha256 is not None and file.sha256 != digest.lower():
        raise UsageError(f"the sha256 of {file} is already recorded: {file.sha256}")
    _write_json(data_folder() / "pins.json", _pins() | {str(file): digest.lower()})


def megabytes(size: int) -> str:
    """`size` bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.1f} MB"


def describe(files: Iterable[File]) -> list[str]:
    """A line for each file: name, size, license, origin, and whose sha256 stands in for the recorded one."""
    return [
        f"{file.name}  {file.size_text}  {file.license}  from {file.origin}"
        + (f", checked against the sha256 in {file.replaced} instead of the recorded one" if file.replaced else "")
        for file in files
    ]


def _download(url: str, path: Path, advance: Callable[[int], None], resume: bool) -> None:
    """Bring `url` to `path`. What has come is kept beside it; with `resume`, the next try asks for the rest alone. Only
    for a file whose sha256 is known: the rest may be that of another file by then."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MissingError(f"another process is downloading {path}: try again when it has finished") from error
        if not resume:
            file.truncate(0)
            file.seek(0)
        try:
            _receive(url, file, advance)
        except BaseException:
            if not file.tell():
                partial.unlink(missing_ok=True)
            raise
    os.replace(partial, path)


def _receive(url: str, file: BinaryIO, advance: Callable[[int], None]) -> None:
    """Append to `file` what it lacks of `url`; raises OSError where not all of it comes."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    begun = file.tell()
    try:
        answer = urlopen(Request(url, headers={"Range": f"bytes={begun}-"} if begun else {}), timeout=60)
    except HTTPError as error:
        if not begun or error.code != 416:  # 416: there is no such part, the file is another one by now
            raise
        answer = urlopen(url, timeout=60)
    with answer:
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):  # all of it, from the start
            file.truncate(begun := 0)
            file.seek(0)
        if begun:
            advance(begun)
        announced = answer.headers.get("Content-Length")
        while block := answer.read(BLOCK):
            file.write(block)
            advance(len(block))
        if announced is not None and file.tell() < (whole := begun + int(announced)):
            raise OSError(f"the connection ended after {file.tell()} of {whole} bytes: the same command resumes there")


def _pins() -> dict[str, Any]:
    return _read_json(data_folder() / "pins.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")

"""Data that come as a tar archive: downloaded, verified, unpacked once."""

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from evalkit.environment.downloads import Advance, File
from evalkit.environment.folders import data_folder
from evalkit.errors import MissingError


@dataclass(frozen=True)
class Archive(File):
    """A tar archive of which one folder is kept, unpacked. The archive itself lies where `kept` says until then."""

    member: str = ""
    """The folder inside the archive."""
    folder: str = ""
    """Where it goes, below the data folder."""

    def find(self) -> Path | None:
        """The unpacked folder, where it is on this machine."""
        return path if (path := data_folder() / self.folder).is_dir() else None

    def fetch(self, advance: Advance) -> Path:
        """The unpacked folder, downloaded and verified where it is not here.

        Raises:
            MissingError: where the archive cannot be had now, is not what was pinned, or cannot be unpacked.
        """
        if (path := self.find()) is not None:
            return path
        archive = self._archive.fetch(advance)
        path = data_folder() / self.folder
        try:
            _unpack(archive, self.member, path)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise MissingError(f"{archive} cannot be unpacked to {path}: {error}") from error
        archive.unlink()
        return path

    @property
    def _archive(self) -> File:
        return File(**{name: getattr(self, name) for name in File.__dataclass_fields__})


def _unpack(archive: Path, member: str, folder: Path) -> None:
    """What `archive` has below `member`, at `folder`: all of it or nothing. What would lead out of it is refused by
    tarfile's filter for data."""

    def only(one: tarfile.TarInfo, to: str) -> tarfile.TarInfo | None:
        path = PurePosixPath(one.name)
        return tarfile.data_filter(one, to) if PurePosixPath(member) in (path, *path.parents) else None

    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{uuid4().hex}.partial")
    try:
        with tarfile.open(archive) as file:
            file.extractall(partial, filter=only)
        os.replace(partial / member, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

"""Finding audio: which files below a folder are audio, under which names, and what was passed over."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.files import expanded, nfc, no_folder, shown
from evalkit.soundfiles import SUFFIXES

NOT_AUDIO = "without an audio suffix"


@dataclass(frozen=True)
class AudioFiles:
    """The audio below a folder, and what else was there."""

    folder: Path
    files: dict[str, list[Path]]
    """Name -> files with an audio suffix, in the order of names. A name is the path below the folder without the
    suffix, with slashes and composed accents, `en/été`. Two files of one name differ in their suffix. Links that lead
    nowhere are among the files: they fail when they are read."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why -> paths below the folder; those of folders end in a slash."""

    def __len__(self) -> int:
        return sum(map(len, self.files.values()))

    def by_name(self) -> dict[str, Path]:
        """Name -> its one file.

        Raises:
            UsageError: where there is no audio, or where two files have one name.
        """
        if not self.files:
            left = "".join(f" {note}" for note in self.notes)
            raise UsageError(
                f"{shown(self.folder)} holds no audio (.wav, .flac and others that soundfile reads).{left}"
            )
        for first, *others in self.files.values():
            if others:
                raise UsageError(f"{shown(first)} and {shown(others[0])} have the same name: keep one of them")
        return {name: path for name, (path,) in self.files.items()}

    def by_stem(self) -> dict[str, Path]:
        """The last part of each name -> its one file, for sets whose ids are the names of files.

        Raises:
            UsageError: where two files have one name.
        """
        found: dict[str, Path] = {}
        for name, path in self.by_name().items() if self.files else ():
            if (other := found.setdefault(name.rpartition("/")[2], path)) is not path:
                raise UsageError(f"{shown(other)} and {shown(path)} have the same name: keep one of them")
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on what was left out, or nothing."""
        if not self.left_out:
            return ()
        parts = []
        for why, paths in self.left_out.items():
            kinds = sorted({os.path.splitext(path)[1] or "no suffix" for path in paths})
            names = kinds if why == NOT_AUDIO else paths
            parts.append(f"{len(paths)} {why} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})")
        count = len(self) + sum(not path.endswith("/") for paths in self.left_out.values() for path in paths)
        return (f"{shown(self.folder)}: {len(self)} of {count} files were used; skipped: {'; '.join(parts)}.",)


def audio_files(folder: Path | str, known: Sequence[str] = ()) -> AudioFiles:
    """Every audio file below `folder`. Links to folders are followed, each folder once.

    Args:
        folder: Where to look.
        known: Patterns of paths below it that have a use of their own, `metadata.csv` or `*.txt`: they are not counted.

    Raises:
        UsageError: where there is no such folder.
    """
    root = expanded(folder)
    if not os.path.isdir(root):
        raise UsageError(no_folder(root))
    found: list[tuple[list[str], Path]] = []
    left_out: dict[str, list[str]] = {}
    seen: set[tuple[int, int]] = set()
    folders: list[str] = [""]  # below the root, each with a slash at its end
    links: list[str] = []  # of them, those that come last, so that a folder is read under its own name

    def leave(why: str, path: str) -> None:
        left_out.setdefault(why, []).append(shown(path))

    while folders or links:
        below = folders.pop() if folders else links.pop(0)
        try:
            about = os.stat(root / below)
            entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
        except OSError as error:
            leave(f"folder(s) that could not be read: {error.strerror}", below)
            continue
        if (about.st_dev, about.st_ino) in seen:
            leave("link(s) to folders already read", below)
            continue
        seen.add((about.st_dev, about.st_ino))
        for entry in entries:
            path = below + entry.name
            stem, suffix = os.path.splitext(path)
            if any(fnmatchcase(path, pattern) for pattern in known):
                continue
            linked = entry.is_symlink()
            is_folder = os.path.isdir(entry.path) if linked else entry.is_dir()
            if entry.name.startswith("."):
                leave("hidden", f"{path}/" if is_folder else path)
            elif is_folder:
                (links if linked else folders).append(f"{path}/")
            elif suffix.lower() in SUFFIXES:
                found.append((nfc(shown(stem)).split("/"), root / path))
            elif linked and not os.path.exists(entry.path):
                leave("broken link(s)", path)
            else:
                leave(NOT_AUDIO, path)
    files: dict[str, list[Path]] = {}
    for parts, file in sorted(found):
        files.setdefault("/".join(parts), []).append(file)
    return AudioFiles(root, files, left_out)


def unlisted(names: Sequence[str], taken: int, listed: Path) -> tuple[str, ...]:
    """A note on audio files, `names`, that the list `listed`, which `taken` utterances are from, does not name."""
    if not names:
        return ()
    return (
        f"{shown(listed)}: {taken} utterances were used; {len(names)} audio files in its folder are not listed, "
        f"for example {names[0]}.",
    )

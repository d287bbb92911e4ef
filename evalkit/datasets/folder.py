"""A person's own recordings: `folder:DIR`, with an optional `metadata.csv`."""

import csv
from pathlib import Path

from evalkit.audio import SUFFIXES
from evalkit.datasets.base import Dataset, Utterance, text_hash
from evalkit.errors import MissingError, UsageError

METADATA = "metadata.csv"


def load(source: str | None = None, *, language: str = "", license: str = "unknown") -> Dataset:
    """Every audio file below the folder `source`, sorted; its id is the path without the suffix.

    With a `metadata.csv` (UTF-8) in the folder, its lines are the list instead: a column `file_name` (or `file`),
    relative to the folder, and optionally `id`, `language`, `speaker` and `transcript` (or `text`). `language` is for
    what has none of its own. The revision covers names and metadata, not the audio.

    Raises MissingError where there is no such folder, UsageError for one without audio, for two files with one id and
    for metadata that cannot be read or lack a file name.
    """
    if source is None:
        raise MissingError("give a folder with audio: --dataset folder:DIR, or folder:DIR,language=en")
    root = Path(source)
    if not root.is_dir():
        raise MissingError(f"{root} is not a folder")
    listed = root / METADATA
    utterances = _from_metadata(listed, language) if listed.is_file() else _from_files(root, language)
    if not utterances:
        raise UsageError(f"{root} holds no audio ({', '.join(SUFFIXES)})")
    known = text_hash(*("\t".join((u.id, u.language, u.speaker, u.transcript or "")) for u in utterances))
    return Dataset(f"folder:{root.resolve().name}", tuple(utterances), license, known)


def _from_files(root: Path, language: str) -> list[Utterance]:
    paths = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    return [Utterance(path.relative_to(root).with_suffix("").as_posix(), path, language) for path in paths]


def _from_metadata(listed: Path, language: str) -> list[Utterance]:
    try:
        lines = listed.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{listed} cannot be read as text in UTF-8: {error}") from error
    table = csv.DictReader(lines)
    column = next((name for name in ("file_name", "file") if name in (table.fieldnames or ())), None)
    if column is None:
        raise UsageError(f"{listed} has no column file_name")
    utterances = []
    for row in table:
        if not row[column]:
            raise UsageError(f"{listed}, line {table.line_num}: no file name")
        utterances.append(
            Utterance(
                id=row.get("id") or Path(row[column]).with_suffix("").as_posix(),
                source=listed.parent / row[column],
                language=row.get("language") or language,
                speaker=row.get("speaker") or "",
                transcript=row.get("transcript") or row.get("text") or None,
            )
        )
    return utterances

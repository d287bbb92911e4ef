"""A person's own recordings: `folder:DIR`, with an optional `metadata.csv`."""

import os
from pathlib import Path

from evalkit.audio_files import AudioFiles, audio_files, unlisted
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, text_hash
from evalkit.datasets.tables import read_table, refuse_twice
from evalkit.errors import MissingError, UsageError
from evalkit.files import expanded, locate, nfc, no_folder, shown

METADATA = "metadata.csv"


def load(source: str | None = None, *, language: str = "", license: str = "unknown") -> Dataset:
    """Every audio file below the folder `source`, sorted; its id is the path without the suffix.

    With a `metadata.csv` (UTF-8) in the folder, its lines are the list instead: a column `file_name` (or `file`),
    relative to the folder, and optionally `id`, `language`, `speaker` and `transcript` (or `text`).

    Args:
        source: The folder.
        language: Of what has none of its own, ISO 639-1.
        license: Stated in the results.

    Returns:
        The dataset. Its notes count what was passed over. Its revision covers names and metadata, not the audio.

    Raises:
        MissingError: where there is no such folder.
        UsageError: for a folder without audio, for two files with one id, and for metadata that cannot be read or lack
            a file name, with the line.
    """
    if source is None:
        raise MissingError("give a folder with audio: --dataset folder:DIR, or folder:DIR,language=en")
    root = expanded(source)
    if not os.path.isdir(root):
        raise MissingError(no_folder(root))
    files = audio_files(root, known=(METADATA,))
    if os.path.lexists(root / METADATA):
        utterances, notes = _from_metadata(root / METADATA, files, language)
    else:
        utterances = [Utterance(name, path, language) for name, path in files.by_name().items()]
        notes = files.notes
    if not utterances:
        raise UsageError(f"{shown(root / METADATA)} lists no audio")
    known = text_hash(*("\t".join((u.id, u.language, u.speaker, u.transcript or "")) for u in utterances))
    return Dataset(f"folder:{shown(root.resolve().name)}", tuple(utterances), license, known, notes)


def _from_metadata(listed: Path, there: AudioFiles, language: str) -> tuple[list[Utterance], tuple[str, ...]]:
    """The utterances that `listed` names, and a note on audio that it does not."""
    table = read_table(listed)
    column = next((name for name in ("file_name", "file") if name in table.columns), "file_name")
    table.require([column])
    ids = [nfc(line.get("id") or Path(os.path.splitext(line.get(column))[0]).as_posix()) for line in table]
    refuse_twice("two utterances have the id", zip(table, ids, strict=True))
    utterances = [
        Utterance(
            id=id,
            source=locate(listed.parent, line.get(column)),
            language=line.get("language") or language,
            speaker=line.get("speaker"),
            transcript=line.get("transcript") or line.get("text") or None,
        )
        for line, id in zip(table, ids, strict=True)
    ]
    paths = {os.path.abspath(utterance.path) for utterance in utterances if utterance.path}
    others = [path for files in there.files.values() for path in files if os.path.abspath(path) not in paths]
    names = [shown(path.relative_to(there.folder)) for path in others]
    return utterances, unlisted(names, len(utterances), listed)


LOADER = DatasetLoader(
    "folder",
    load,
    usage="folder:DIR",
    about="audio files and an optional metadata.csv (language=en, license=TEXT)",
)

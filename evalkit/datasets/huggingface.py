"""Speech from the Hugging Face hub, or from a local folder laid out like one of its repositories: `hub:ID`.

Read as parquet through the package `datasets`, which leaves the audio to soundfile: nothing here needs torchcodec.
"""

from functools import partial
from pathlib import Path
from typing import Any

from evalkit.audio import Audio, read, read_bytes
from evalkit.datasets.base import Dataset, Utterance, text_hash
from evalkit.environment import extras
from evalkit.errors import AudioError, MissingError, UsageError

TEXT_COLUMNS = ("transcript", "text", "sentence", "transcription", "normalized_text")
SPEAKER_COLUMNS = ("speaker_id", "speaker", "client_id")
LANGUAGE_COLUMNS = ("language", "locale", "lang")


def load(
    source: str | None = None,
    *,
    files: str | None = None,
    split: str = "test",
    revision: str | None = None,
    audio: str = "audio",
    id: str = "id",
    text: str | None = None,
    speaker: str | None = None,
    language: str = "",
    license: str = "see the repository",
) -> Dataset:
    """The rows of the parquet files `files` (a pattern; default: `**/SPLIT-*`) of the repository `source` at the commit
    `revision` (default: the newest, which is looked up and recorded).

    `audio`, `id`, `text` and `speaker` name columns; the last two are found by their usual names unless given, and
    where there is no column `id`, rows are numbered. `language` is for all rows; without it, a column `language` is
    used where there is one. Only the files that `files` names are downloaded.

    Raises MissingError where `datasets` is not installed or the repository cannot be reached, UsageError for columns
    that are not there.
    """
    if source is None:
        raise MissingError("name a repository of the hub: --dataset hub:OWNER/NAME,split=test,revision=COMMIT")
    table, commit = _table(source, files or f"**/{split}-*", split, revision)
    columns = table.column_names
    if audio not in columns:
        raise UsageError(f"{source} has no column {audio!r}; it has: {', '.join(columns)}")
    text = _column(source, columns, text, TEXT_COLUMNS)
    speaker = _column(source, columns, speaker, SPEAKER_COLUMNS)
    spoken = None if language else _column(source, columns, None, LANGUAGE_COLUMNS)
    named = [name for name in (id, text, speaker, spoken) if name in columns]
    width = len(str(len(table)))
    utterances = []
    for position, row in enumerate(table.select_columns(named) if named else [{}] * len(table)):
        utterances.append(
            Utterance(
                id=str(row.get(id) or f"{position:0{width}}"),
                source=partial(_decode, table, position, audio),
                language=str(row.get(spoken) or "") if spoken else language,
                speaker=str(row.get(speaker) or "") if speaker else "",
                transcript=(str(row.get(text) or "") or None) if text else None,
            )
        )
    found = text_hash(source, commit, split, *(u.id for u in utterances))
    return Dataset(f"hub:{source}", tuple(utterances), license, found)


def _table(source: str, files: str, split: str, revision: str | None) -> tuple[Any, str]:
    """The rows with undecoded audio, and the commit that they are of ("local" for a folder)."""
    datasets = extras.load("datasets", "models")
    local = Path(source).is_dir()
    try:
        if not local and revision is None:
            from huggingface_hub import HfApi

            revision = HfApi().dataset_info(source).sha
        table = datasets.load_dataset(source, data_files={split: files}, split=split, revision=revision)
        for name, kind in table.features.items():
            if isinstance(kind, datasets.Audio):
                table = table.cast_column(name, datasets.Audio(decode=False))
    except Exception as error:  # offline, gone, gated, damaged: the package has a class for each, and they change
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise MissingError(
            f"{source} ({files}) cannot be read now: {reason}. Online, the same command downloads it; "
            f"behind a login, `hf auth login` comes first"
        ) from error
    return table, "local" if local else str(revision)


def _column(source: str, columns: list[str], wanted: str | None, usual: tuple[str, ...]) -> str | None:
    if wanted is not None and wanted not in columns:
        raise UsageError(f"{source} has no column {wanted!r}; it has: {', '.join(columns)}")
    return wanted or next((name for name in usual if name in columns), None)


def _decode(table: Any, position: int, column: str) -> Audio:
    """The audio of one row, from its bytes or else its path."""
    cell = table[position][column] or {}
    if cell.get("bytes"):
        return read_bytes(cell["bytes"], str(cell.get("path") or f"row {position}"))
    if cell.get("path"):
        return read(cell["path"])
    raise AudioError(f"row {position} holds no audio")

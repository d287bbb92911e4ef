"""Speech from the Hugging Face hub, or from a local folder laid out like one of its repositories: `hub:ID`.

Read as parquet through the package `datasets`, which leaves the audio to soundfile: nothing here needs torchcodec.
"""

import os.path
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.audio import Audio
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, text_hash
from evalkit.datasets.tables import text_of
from evalkit.environment import extras
from evalkit.errors import AudioError, MissingError, UsageError
from evalkit.files import expanded, nfc
from evalkit.soundfiles import read, read_bytes

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
    id: str | None = None,
    text: str | None = None,
    speaker: str | None = None,
    language: str = "",
    license: str = "see the repository",
) -> Dataset:
    """The rows of parquet files of a repository. Only the files that `files` names are downloaded.

    Args:
        source: OWNER/NAME on the hub, or a folder.
        files: A pattern; default: `**/SPLIT-*`.
        split: The split.
        revision: The commit; default: the newest, which is looked up and recorded.
        audio: The column with the audio.
        id: The column with ids; default: `id` or, where there is none, rows are numbered.
        text: The column with transcripts; default: found by its usual names.
        speaker: The column with speakers; default: found by its usual names.
        language: Of all rows; without it, a column `language` is used where there is one.
        license: Stated in the results.

    Raises:
        MissingError: where `datasets` is not installed or the repository cannot be reached.
        UsageError: for columns that are not there.
    """
    if source is None:
        raise MissingError("name a repository on the Hub: --dataset hub:OWNER/NAME,split=test,revision=COMMIT")
    table, commit = open_table(source, files or f"**/{split}-*", split, revision)
    utterances = rows_of(table, source, audio=audio, id=id, text=text, speaker=speaker, language=language)
    found = text_hash(source, commit, split, *(u.id for u in utterances))
    numbered = id is None and "id" not in table.column_names
    notes = (f"{source} has no column id: its utterances are named by row number.",) if numbered else ()
    return Dataset(f"hub:{source}", tuple(utterances), license, found, notes)


def rows_of(
    table: Any,
    source: str,
    *,
    audio: str = "audio",
    id: str | Callable[[Mapping[str, Any]], str] | None = None,
    text: str | None = None,
    speaker: str | None = None,
    language: str = "",
) -> list[Utterance]:
    """An utterance for each row of `table`; the columns are as in `load`. `id` may be a function that makes an id of a
    row, in which the audio is its file's name. Raises UsageError for columns that are not there."""
    columns = table.column_names
    if audio not in columns:
        raise UsageError(f"{source} has no column {audio!r}; it has: {', '.join(columns)}")
    text = _column(source, columns, text, TEXT_COLUMNS)
    speaker = _column(source, columns, speaker, SPEAKER_COLUMNS)
    spoken = None if language else _column(source, columns, None, LANGUAGE_COLUMNS)
    column = None if callable(id) else _column(source, columns, id, ("id",))
    rows = table.remove_columns([audio]) if len(columns) > 1 else [{}] * len(table)
    names = _file_names(table, audio) if callable(id) else [""] * len(table)
    width = len(str(len(table)))
    utterances = []
    for position, (row, name) in enumerate(zip(rows, names, strict=True)):
        found = id(row | {audio: name}) if callable(id) else text_of(row.get(column))
        utterances.append(
            Utterance(
                id=nfc(found) or f"{position:0{width}}",
                source=partial(_decode, table, position, audio),
                language=text_of(row.get(spoken)) if spoken else language,
                speaker=text_of(row.get(speaker)) if speaker else "",
                transcript=(text_of(row.get(text)) or None) if text else None,
            )
        )
    return utterances


def _file_names(table: Any, audio: str) -> list[str]:
    """The name of each row's audio file, where it has one; the audio itself is not touched."""
    import pyarrow.compute

    return [name or "" for name in pyarrow.compute.struct_field(table.data.column(audio), "path").to_pylist()]


def open_table(source: str, files: str, split: str, revision: str | None) -> tuple[Any, str]:
    """The rows of `files` with undecoded audio, and the commit that they are of ("local" for a folder); raises
    MissingError as `load` does."""
    datasets = extras.load("datasets", "models")
    local = os.path.isdir(expanded(source))
    try:
        folder = expanded(source) if local else _download(source, files, revision)
        paths = sorted(str(path) for path in folder.glob(files) if path.suffix == ".parquet")
        _check_complete(paths)
        table = datasets.load_dataset("parquet", data_files={split: paths}, split=split)
        for name, kind in table.features.items():
            if isinstance(kind, datasets.Audio):
                table = table.cast_column(name, datasets.Audio(decode=False))
    except Exception as error:  # offline, gone, gated, damaged: the package has a class for each, and they change
        root: BaseException = error
        while root.__cause__ is not None:  # above it, the package only says that something failed
            root = root.__cause__
        reason = str(root).strip().splitlines()[0][:300].rstrip(".") if str(root).strip() else type(root).__name__
        remedy = (
            "Check that its Parquet files are complete and have the same columns"
            if local
            else "Online, the same command downloads it; if it needs a login, run `hf auth login` first"
        )
        raise MissingError(f"{source} ({files}) cannot be read now: {reason}. {remedy}") from error
    return table, "local" if local else folder.name


def _download(source: str, files: str, revision: str | None) -> Path:
    """The folder of the commit, in the hub's own cache: what is there is found again without a network."""
    from huggingface_hub import snapshot_download

    patterns = [files, files.removeprefix("**/")]
    return Path(snapshot_download(source, repo_type="dataset", revision=revision or "main", allow_patterns=patterns))


def _check_complete(paths: list[str]) -> None:
    """Raises FileNotFoundError where there are no files, or fewer than their names count: `test-00000-of-00002`."""
    parts = Counter(re.sub(r"\d+(-of-\d+\.parquet)$", r"\1", path) for path in paths)
    for name, here in parts.items():
        counted = re.search(r"-of-(\d+)\.parquet$", name)
        if counted and here < int(counted[1]):
            raise FileNotFoundError(f"{here} of {int(counted[1])} files are here, such as {paths[0]}")
    if not paths:
        raise FileNotFoundError("no parquet files")


def _column(source: str, columns: list[str], wanted: str | None, usual: tuple[str, ...]) -> str | None:
    if wanted is not None and wanted not in columns:
        raise UsageError(f"{source} has no column {wanted!r}; it has: {', '.join(columns)}")
    return wanted or next((name for name in usual if name in columns), None)


def _decode(table: Any, position: int, column: str) -> Audio:
    """The audio of one row, from its bytes or else its path."""
    cell = table[position][column] or {}
    if not isinstance(cell, dict):
        raise AudioError(f"row {position}: {column} holds neither the bytes of an audio file nor its path")
    if cell.get("bytes"):
        return read_bytes(cell["bytes"], str(cell.get("path") or f"row {position}"))
    if cell.get("path"):
        return read(cell["path"])
    raise AudioError(f"row {position} holds no audio")


LOADER = DatasetLoader(
    "hub",
    load,
    usage="hub:OWNER/NAME",
    about="Parquet on the Hugging Face Hub (files=…, split=test, revision=COMMIT, id=…, text=…, speaker=…, language=…)",
)

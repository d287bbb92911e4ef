"""Utterances and datasets: what every loader returns and declares.

A loader lists utterances without reading their audio if it can, so that a broken file fails only its own rows. It
counts skipped files in the dataset's notes, and raises MissingError with the remedy if the data are not on this
machine.
"""

import hashlib
import os.path
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from evalkit.audio import Audio
from evalkit.datasets.tables import read_table, refuse_twice
from evalkit.environment.downloads import File
from evalkit.environment.folders import data_folder
from evalkit.errors import AudioError, MissingError, UsageError
from evalkit.files import expanded, is_storable, locate, nfc, shown
from evalkit.soundfiles import duration, fetch_at_most, read

AudioSource = Path | Audio | Callable[[], Audio]
"""Where audio comes from: a file, samples already in memory, or a function that fetches them."""


@dataclass(frozen=True)
class Utterance:
    """One recording of speech and what is known about it; unknown fields are "", an unknown transcript is None.

    `source` may be a function, for audio that is neither a whole file nor in memory: part of a long recording, or
    the bytes in a row of a table. Use `functools.partial` of a module's function, because worker processes pickle it.
    """

    id: str
    source: AudioSource
    language: str = ""
    """ISO 639-1, for instance `pl`."""
    speaker: str = ""
    transcript: str | None = None

    @property
    def path(self) -> Path | None:
        """The file of the audio, where it is one file."""
        return self.source if isinstance(self.source, Path) else None

    def audio(self) -> Audio:
        """The audio, read now and not kept.

        Raises:
            AudioError: It cannot be read; the message names the file.
        """
        if isinstance(self.source, Path):
            return read(self.source)
        return self.source if isinstance(self.source, Audio) else self.source().copy()

    def at_most(self, seconds: float) -> "Utterance":
        """The same utterance; reading its audio raises AudioError if it is longer than `seconds`."""
        if isinstance(self.source, Path) and 0 < duration(self.source) <= seconds:
            return self
        return replace(self, source=partial(fetch_at_most, self.source, seconds))


@dataclass(frozen=True)
class Dataset:
    """Utterances in a fixed order, under a name. Raises UsageError if two share an id."""

    name: str
    utterances: tuple[Utterance, ...]
    license: str
    revision: str
    """Identifies the content: equal revisions mean equal utterances (for a manifest, the sha256 of its text)."""
    notes: tuple[str, ...] = ()
    """What readers of the results must know about these data, in whole sentences."""
    selection: Mapping[str, object] = field(default_factory=dict)
    """How these utterances were selected; empty for all."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for utterance in self.utterances:
            if utterance.id in seen:
                raise UsageError(f"dataset {self.name}: two utterances have the id {utterance.id!r}")
            seen.add(utterance.id)

    def __len__(self) -> int:
        return len(self.utterances)

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)

    def at_most(self, seconds: float) -> "Dataset":
        """The same utterances; those longer than `seconds` get a reason instead of audio."""
        return replace(self, utterances=tuple(one.at_most(seconds) for one in self.utterances))

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language once, in order of appearance."""
        return tuple(dict.fromkeys(u.language for u in self.utterances))

    @property
    def ids_hash(self) -> str:
        """sha256 of the ids in their order."""
        return hashlib.sha256("\n".join(u.id for u in self.utterances).encode()).hexdigest()


def require_sense(dataset: object) -> Dataset:
    """`dataset` from third-party code; raises UsageError if a run directory could not store its names."""
    if not isinstance(dataset, Dataset):
        raise UsageError(f"a dataset must be an evalkit.datasets.base.Dataset, not a {type(dataset).__name__}")
    if not all(map(is_storable, (dataset.name, dataset.license, dataset.revision, *dataset.notes))):
        raise UsageError(f"dataset {dataset.name!r}: name, license, revision and notes must be texts")
    if not isinstance(dataset.utterances, tuple | list):
        raise UsageError(
            f"dataset {dataset.name}: utterances must be a tuple, not a {type(dataset.utterances).__name__}"
        )
    for one in dataset:
        for what in ("id", "language", "speaker", "transcript"):
            text = getattr(one, what)
            if not is_storable(text) and not (what == "transcript" and text is None):
                more = "" if what == "id" else f" of {one.id!r}"
                raise UsageError(
                    f"dataset {dataset.name}: the {what} {text!r}{more} is not text that a file can contain"
                )
    return dataset


@dataclass(frozen=True)
class DatasetLoader:
    """One kind of data for `--dataset`, as registered under the entry points `evalkit.datasets`.

    Listings, help and `evalkit fetch` use these fields.
    """

    name: str
    load: Callable[..., Dataset]
    """`load(source: str | None = None, *, ...) -> Dataset`. `source` and the keyword options, all of them text, come
    from `--dataset NAME:SOURCE,OPTION=VALUE`, where underscores in options are dashes. Raises MissingError with the
    remedy if the data are not on this machine."""
    preview: Callable[[], Dataset] | None = None
    """`load()` without verifying the files, for listings, if verification takes long."""
    usage: str = ""
    """Its form in `--dataset`, for instance `mls44[:FILE.zip|DIR]`; by default only the name."""
    about: str = ""
    """What it is and which options it takes, in one line."""
    license: str = ""
    """License of the data, if known without them."""
    files: tuple[File, ...] = ()
    """What `evalkit fetch NAME` downloads."""

    def __call__(self, *source: str, **options: str) -> Dataset:
        return self.load(*source, **options)


def place(source: str | None, default: str, remedy: str) -> Path:
    """Where the data are.

    Args:
        source: A file or folder that the user named, or None.
        default: Its name in `data_folder()` if the user named none.
        remedy: What to do if it does not exist, in whole sentences.

    Raises:
        MissingError: It does not exist.
    """
    path = expanded(source) if source is not None else data_folder() / default
    if not os.path.exists(path):
        raise MissingError(f"{shown(path)} does not exist. {remedy}")
    return path


def folder_in(root: Path, *names: str) -> Path | None:
    """The first of the folders `names` that exists below `root`; an empty name stands for `root` itself."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def read_at(path: Path, rate: int, what: str) -> Audio:
    """The audio of `path`; raises AudioError if it cannot be read, or if its rate is not that of the dataset `what`."""
    audio = read(path)
    if audio.sample_rate != rate:
        raise AudioError(f"{shown(path)}: {audio.sample_rate} Hz, but {what} has {rate} Hz")
    return audio


def text_hash(*parts: str) -> str:
    """sha256 of `parts`: the revision of a dataset that consists of several texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_manifest(path: Path, name: str, license: str) -> Dataset:
    """The dataset that a manifest lists: CSV (UTF-8) with the columns `id` and `file` (relative to the manifest) and,
    optionally, `language`, `speaker` and `transcript`; other columns are ignored.

    The revision is the sha256 of the manifest's text, so a manifest with hashes of the audio pins the audio too.

    Raises:
        UsageError: The manifest cannot be read by `read_table`, lacks a column or a value, or contains an id twice.
    """
    table = read_table(path, required=("id", "file"))
    ids = [nfc(line.get("id")) for line in table]
    refuse_twice("two utterances have the id", zip(table, ids, strict=True))
    utterances = [
        Utterance(
            id=id,
            source=locate(path.parent, line.get("file")),
            language=line.get("language"),
            speaker=line.get("speaker"),
            transcript=line.get("transcript") or None,
        )
        for line, id in zip(table, ids, strict=True)
    ]
    return Dataset(name, tuple(utterances), license, text_hash(table.text))

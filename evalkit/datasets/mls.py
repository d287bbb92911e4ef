"""Multilingual LibriSpeech (Pratap et al. 2020, arXiv 2012.03411), 16 kHz, CC BY 4.0.

`mls:DIR` reads the official release (OpenSLR 94), one folder `mls_<language>[_opus]` for each language, or is such a
folder itself; `mls:hub` reads the parquet files that its authors put on the Hugging Face hub, which have no English and
were made from the lossy Opus release, and for English those of parler-tts (at 48 kHz, by one account).

The NanoCodec paper's own selection of this set, at 44.1 kHz, is `mls44`.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from evalkit.audio_files import audio_files, unlisted
from evalkit.datasets import languages as lang
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, place, read_at, text_hash
from evalkit.datasets.tables import read_keyed, read_text, text_of
from evalkit.errors import MissingError, UsageError
from evalkit.files import no_folder, shown

RATE = 16_000
LICENSE = "CC BY 4.0"
SUFFIXES = (".flac", ".opus")
HUB, HUB_REVISION = "facebook/multilingual_librispeech", "2e83e61823b4c47dcbcb1980bb88601274127609"
ENGLISH, ENGLISH_REVISION = "parler-tts/mls_eng", "faf6604dcf0bb9ec0d9c280a140ad74da9c931b0"
HELP = (
    "MLS is downloaded from https://www.openslr.org/94 (6 GB for Polish to 2.4 TB for English); unpack it and give "
    "the folder that contains mls_german/ and the others: --dataset mls:DIR. Or read the test sets from the Hub: "
    "--dataset mls:hub"
)


def load(
    source: str | None = None,
    *,
    split: str = "test",
    languages: str | None = None,
    revision: str | None = None,
    english_revision: str | None = None,
) -> Dataset:
    """The utterances of a split, by language and id. Ids are the official ones, `SPEAKER_BOOK_INDEX`.

    Of a folder the list is each `transcripts.txt`: audio that it does not name is no part of the set and is counted in
    the notes, a name without audio costs its own rows, and so does audio that is not at 16 kHz.

    Args:
        source: The folder, or `hub`.
        split: `test`, `dev` or `train`.
        languages: `de+pl`; default: every language that is there.
        revision: Of `mls:hub`, the commit to read instead of the one that is recorded here; with `languages=en`, of the
            English repository.
        english_revision: The same for English beside other languages.

    Raises:
        MissingError: where the folder is not there, holds no language of MLS or lacks one that was asked for.
        UsageError: with the line, for a transcript list that is damaged or names an utterance twice.
    """
    if source == "hub":
        return _from_hub(split, lang.codes(languages), revision, english_revision)
    if revision is not None or english_revision is not None:
        raise UsageError("revision is for mls:hub, not for a folder")
    root = place(source, "mls", HELP)
    if not root.is_dir():
        raise UsageError(no_folder(root))
    folders = _language_folders(root)
    if not folders:
        raise MissingError(f"{root} holds no folder such as mls_german or mls_german_opus. {HELP}")
    wanted = lang.codes(languages) if languages is not None else tuple(folders)
    absent = [language for language in wanted if language not in folders]
    if absent:
        raise MissingError(f"{root} has no {', '.join(f'mls_{lang.NAMES[code][0]}' for code in absent)}. {HELP}")
    utterances: list[Utterance] = []
    texts: list[str] = []
    notes: list[str] = []
    for language in wanted:
        folder = folders[language] / split
        listed = folder / "transcripts.txt"
        if not listed.is_file():
            raise MissingError(f"{shown(listed)}: the list of transcripts cannot be read: no such file. {HELP}")
        texts.append(read_text(listed))
        some = _utterances(folder, language)
        utterances += some
        known = {one.id for one in some}
        if (folder / "audio").is_dir():
            files = audio_files(folder / "audio")
            others = [name for name in files.files if name.rpartition("/")[2] not in known]
            notes += [*files.notes, *unlisted(others, len(some), listed)]
    return Dataset("mls", tuple(utterances), LICENSE, text_hash(split, *texts), tuple(notes))


def _language_folders(root: Path) -> dict[str, Path]:
    """Language -> its folder, below `root` or `root` itself."""
    found: dict[str, Path] = {}
    for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        stem = folder.resolve().name.removesuffix("_opus")
        language = lang.code(stem.removeprefix("mls_")) if stem.startswith("mls_") else None
        if language is None:
            continue
        if language in found:
            raise UsageError(f"{found[language]} and {folder} are the same language: give only one of them, not {root}")
        found[language] = folder
    return {language: found[language] for language in lang.NAMES if language in found}


def _utterances(folder: Path, language: str) -> list[Utterance]:
    form = "SPEAKER_BOOK_INDEX, a tab and the transcript"
    utterances = []
    for line in read_keyed(folder / "transcripts.txt", form, "[^\\W_]+_[^\\W_]+_[^\\W_]+", "\t"):
        speaker, book, _ = (name := line.get("key")).split("_")
        audio = partial(read_at, _audio_path(folder / "audio" / speaker / book / name), RATE, "MLS")
        utterances.append(Utterance(name, audio, language, speaker, line.get("text") or None))
    return sorted(utterances, key=lambda one: one.id)


def _audio_path(stem: Path) -> Path:
    paths = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


def _from_hub(split: str, languages: tuple[str, ...], revision: str | None, english_revision: str | None) -> Dataset:
    from evalkit.datasets import huggingface

    if languages == ("en",):
        revision, english_revision = None, english_revision or revision
    utterances: list[Utterance] = []
    commits: list[str] = []
    for language in languages:
        if language == "en":
            repository, commit, files = ENGLISH, english_revision or ENGLISH_REVISION, f"**/{split}-*"
        else:
            repository, commit = HUB, revision or HUB_REVISION
            files = f"{lang.NAMES[language][0]}/{split}-*"
        table, commit = huggingface.open_table(repository, files, split, commit)
        commits.append(f"{repository} at {commit}")
        utterances += huggingface.rows_of(
            table, repository, id=_english_id if language == "en" else "id", language=language
        )
    notes = [
        "MLS on the Hub was compressed with Opus before any codec of this table: for results to publish, use the "
        "FLAC release (mls:DIR) or mls44.",
        f"MLS was read from {' and '.join(dict.fromkeys(commits))}.",
    ]
    made = [u.id for u in utterances if u.language == "en" and not _OFFICIAL.fullmatch(u.id)]
    if made:
        notes.append(
            f"{ENGLISH} does not give the official ids of {len(made)} utterances: they are named by speaker, book, "
            f"recording and second, for instance {made[0]}."
        )
    found = text_hash(split, *commits, *(u.id for u in utterances))
    return Dataset("mls-hub", tuple(utterances), LICENSE, found, tuple(notes))


_OFFICIAL = re.compile(r"\d+_\d+_\d+")


def _english_id(row: Mapping[str, Any]) -> str:
    """The official id where a file's name has it; else one that names the same stretch of the same recording."""
    spoken = f"{text_of(row.get('speaker_id'))}_{text_of(row.get('book_id'))}"
    names = [PurePosixPath(text_of(row.get(column))).stem for column in ("original_path", "audio")]
    official = [name for name in names if _OFFICIAL.fullmatch(name) and name.startswith(f"{spoken}_")]
    return official[0] if official else f"{spoken}_{names[0]}_{float(row.get('begin_time') or 0):.2f}"


LOADER = DatasetLoader(
    "mls",
    load,
    usage="mls[:DIR|hub]",
    about="MLS as released, 16 kHz (split=test, languages=de+pl; on the Hub: revision=COMMIT, english-revision=COMMIT)",
    license=LICENSE,
)

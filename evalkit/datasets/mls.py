"""Multilingual LibriSpeech (Pratap et al. 2020, arXiv 2012.03411), 16 kHz, CC BY 4.0.

`mls:DIR` reads the official release (OpenSLR 94), one folder `mls_<language>[_opus]` for each language, or is such a
folder itself; `mls:hub` reads the parquet files that its authors put on the Hugging Face hub, which have no English and
were made from the lossy Opus release, and for English those of parler-tts.

The NanoCodec paper's own selection of this set, at 44.1 kHz, is `mls44`.
"""

from functools import partial
from pathlib import Path

from evalkit.datasets import languages as lang
from evalkit.datasets.base import Dataset, Utterance, place, read_at, text_hash
from evalkit.errors import MissingError, UsageError

RATE = 16_000
LICENSE = "CC BY 4.0"
SUFFIXES = (".flac", ".opus")
HUB = "facebook/multilingual_librispeech"
HUB_ENGLISH = "parler-tts/mls_eng"
HELP = (
    "MLS is downloaded from https://www.openslr.org/94 (6 GB for Polish to 2.4 TB for English); unpack it and give the "
    "folder that holds mls_german/ and the others: --dataset mls:DIR. Or take the test sets from the hub: "
    "--dataset mls:hub"
)


def load(
    source: str | None = None, *, split: str = "test", languages: str | None = None, revision: str | None = None
) -> Dataset:
    """The utterances of `split` in every language that is there, or in `languages` (`de+pl`), sorted by id.

    The list is each `transcripts.txt`: audio that it does not name is no part of the set, a name without audio costs
    its own rows, and so does audio that is not at 16 kHz. Ids are the official ones, `SPEAKER_BOOK_INDEX`. `revision`
    is for `mls:hub`: the commit to read.

    Raises MissingError where the folder is not there, holds no language of MLS or lacks one that was asked for;
    UsageError, with the line, for a transcript list that is damaged or names an utterance twice.
    """
    if source == "hub":
        return _from_hub(split, languages, revision)
    if revision is not None:
        raise UsageError("revision is for mls:hub; a folder is what it is")
    root = place(source, "mls", HELP)
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    folders = _language_folders(root)
    if not folders:
        raise MissingError(f"{root} holds no folder such as mls_german or mls_german_opus. {HELP}")
    wanted = lang.codes(languages) if languages is not None else tuple(folders)
    absent = [language for language in wanted if language not in folders]
    if absent:
        raise MissingError(f"{root} has no {', '.join(f'mls_{lang.NAMES[code][0]}' for code in absent)}. {HELP}")
    utterances: list[Utterance] = []
    texts: list[str] = []
    for language in wanted:
        text = _read_text(folders[language] / split / "transcripts.txt")
        texts.append(text)
        utterances += _utterances(folders[language] / split, text, language)
    return Dataset("mls", tuple(utterances), LICENSE, text_hash(split, *texts))


def _language_folders(root: Path) -> dict[str, Path]:
    """Language -> its folder, below `root` or `root` itself."""
    found: dict[str, Path] = {}
    for folder in [root, *sorted(path for path in root.iterdir() if path.is_dir())]:
        stem = folder.resolve().name.removesuffix("_opus")
        language = lang.code(stem.removeprefix("mls_")) if stem.startswith("mls_") else None
        if language is None:
            continue
        if language in found:
            raise UsageError(f"{found[language]} and {folder} are the same language: give one of them, not {root}")
        found[language] = folder
    return {language: found[language] for language in lang.NAMES if language in found}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MissingError(f"{path}: the list of transcripts cannot be read ({error.strerror}). {HELP}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text in UTF-8") from error


def _utterances(folder: Path, text: str, language: str) -> list[Utterance]:
    where = folder / "transcripts.txt"
    seen: dict[str, int] = {}
    utterances = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, tab, transcript = line.partition("\t")
        parts = name.split("_")
        if not tab or len(parts) != 3 or not all(part.isalnum() for part in parts):
            raise UsageError(f"{where}, line {number}: not SPEAKER_BOOK_INDEX, a tab and the transcript")
        if name in seen:
            raise UsageError(f"{where}, lines {seen[name]} and {number}: the same utterance, {name}")
        seen[name] = number
        audio = partial(read_at, _audio_path(folder / "audio" / parts[0] / parts[1] / name), RATE, "MLS")
        utterances.append(Utterance(name, audio, language, parts[0], transcript.strip() or None))
    return sorted(utterances, key=lambda one: one.id)


def _audio_path(stem: Path) -> Path:
    paths = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


def _from_hub(split: str, languages: str | None, revision: str | None) -> Dataset:
    from evalkit.datasets import huggingface

    utterances: list[Utterance] = []
    revisions: list[str] = []
    for language in lang.codes(languages):
        english = language == "en"
        part = huggingface.load(
            HUB_ENGLISH if english else HUB,
            files=f"**/{split}-*" if english else f"{lang.NAMES[language][0]}/{split}-*",
            split=split,
            revision=None if english else revision,
            language=language,
            license=LICENSE,
        )
        revisions.append(part.revision)
        utterances += part.utterances
    note = (
        "The audio of MLS on the hub went through Opus before any codec of this table: for numbers to publish, use the "
        "FLAC release (mls:DIR) or mls44."
    )
    return Dataset("mls-hub", tuple(utterances), LICENSE, text_hash(split, *revisions), (note,))

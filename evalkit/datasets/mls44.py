"""The NanoCodec paper's own MLS test set: 200 utterances in each of eight languages at 44.1 kHz, CC BY 4.0.

`mls44:FILE.zip` reads the authors' archive without unpacking it; `mls44:DIR` reads a folder that it was unpacked to.
The archive is `Datasets/mls-44kHz-200-samples-each-language.zip` of the repository
`Edresson/Low-Frame-rate-Speech-Codec`, branch `gh-pages` (Git LFS, 2.1 GB).

How the archive is laid out inside was not known when this was written: the language is taken from a folder's name
(`german`, `mls_german`, `de`, `deu`), the id from the file's, transcripts from `transcripts.txt` (an id, a tab, the
text) or from a `.txt` beside the audio. Where none are found, CER is measured against what the recognizer hears in the
original (`dcer-mms`).
"""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from evalkit.audio import Audio
from evalkit.audio_files import NOT_AUDIO, audio_files
from evalkit.datasets import languages as lang
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, place, read_at, text_hash
from evalkit.datasets.tables import decode, numbered
from evalkit.environment.downloads import File, sha256
from evalkit.errors import AudioError, UsageError
from evalkit.files import nfc, shown
from evalkit.soundfiles import SUFFIXES, read_bytes

SHA256 = "aefac7f65d2de17c86f1dd50b38be85d63cefe1ee3085b608f54698e4cdaf6dd"
RATE = 44_100
LICENSE = "CC BY 4.0"
LARGEST = 256 * 2**20
"""Bytes that one file of the archive may unpack to: 20 s of speech take under 4 MB."""
ARCHIVE = "mls-44kHz-200-samples-each-language.zip"
URL = f"https://media.githubusercontent.com/media/Edresson/Low-Frame-rate-Speech-Codec/gh-pages/Datasets/{ARCHIVE}"
FILE = File(ARCHIVE, LICENSE, 2_107_857_133, url=URL, kept=ARCHIVE, sha256=SHA256)
HELP = (
    f"mls44 is the authors' archive {ARCHIVE} (2.1 GB, CC BY 4.0): `evalkit fetch mls44` downloads it, or give the "
    f"file: "
    "--dataset mls44:FILE.zip"
)


def load(source: str | None = None, *, languages: str | None = None) -> Dataset:
    """The utterances, by language and id. Files at another rate than 44.1 kHz cost their own rows.

    Args:
        source: The archive, or a folder that it was unpacked to.
        languages: `de+pl`; default: all.

    Raises:
        MissingError: where there is no such file or folder.
        UsageError: for an archive that is not the authors' (its sha256), is no zip, or holds a name that leads out of
            it, and for audio that names no language.
    """
    path = place(source, ARCHIVE, HELP)
    if not path.is_dir() and (digest := sha256(path)) != FILE.pin:
        raise UsageError(
            f"{shown(path)} is not the authors' archive, or is damaged: its sha256 is {digest}, not {FILE.pin}"
        )
    return _read(path, languages)


def preview() -> Dataset:
    """As `load`, of an archive that is not verified: its 2.1 GB would be read for every listing."""
    return _read(place(None, ARCHIVE, HELP))


def _read(path: Path, languages: str | None = None) -> Dataset:
    if path.is_dir():
        found = audio_files(path)
        names = [file.relative_to(path).as_posix() for files in found.files.values() for file in files]
        names = sorted([*names, *found.left_out.pop(NOT_AUDIO, [])])
        note = f"mls44 was read from the folder {shown(path.name)}: evalkit does not check that it is the paper's data."
        notes = (note, *found.notes)
        return _dataset(names, lambda name: (path / name).read_bytes(), partial(_open_file, path), languages, notes)
    notes = (
        (f"mls44 is not the authors' archive, but the file whose sha256 is in {FILE.replaced}.",)
        if FILE.replaced
        else ()
    )
    try:
        with zipfile.ZipFile(path) as archive:
            names = _safe_names(path, archive)
            return _dataset(names, partial(_member, archive, path), partial(_open_member, path), languages, notes)
    except zipfile.BadZipFile as error:
        raise UsageError(f"{path} is not a zip archive that can be read: {error}") from error


def _safe_names(path: Path, archive: zipfile.ZipFile) -> list[str]:
    """The names of all files in `archive`; UsageError where one leads out of it, comes twice or is encrypted."""
    names: list[str] = []
    for info in archive.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise UsageError(f"{path} holds {info.filename!r}, a path outside the archive: do not trust this file")
        if info.flag_bits & 1:
            raise UsageError(f"{path} holds {info.filename!r}, which is encrypted")
        if not info.is_dir():
            names.append(info.filename)
    if len(names) != len(set(names)):
        raise UsageError(f"{path} holds a duplicate name: {next(n for n in names if names.count(n) > 1)!r}")
    return sorted(names)


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    if archive.getinfo(name).file_size > LARGEST:
        raise AudioError(f"{path}: {name} would unpack to more than {LARGEST // 2**20} MB")
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise AudioError(f"{path}: {name} cannot be unpacked ({error})") from error


def _open_member(path: Path, name: str) -> Audio:
    """The audio of one member, in memory: nothing of the archive is written anywhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = _member(archive, path, name)
    except (zipfile.BadZipFile, OSError) as error:
        raise AudioError(f"{path} cannot be read: {error}") from error
    audio = read_bytes(content, f"{path}: {name}")
    if audio.sample_rate != RATE:
        raise AudioError(f"{path}: {name}: {audio.sample_rate} Hz, but mls44 has {RATE} Hz")
    return audio


def _open_file(root: Path, name: str) -> Audio:
    return read_at(root / name, RATE, "mls44")


def _dataset(
    names: Sequence[str],
    content: Callable[[str], bytes],
    audio: Callable[[str], Audio],
    languages: str | None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    wanted = lang.codes(languages)
    of_macos = [name for name in names if "__MACOSX" in name.split("/") or PurePosixPath(name).name.startswith(".")]
    names = sorted(set(names) - set(of_macos))
    transcripts, unread = _transcripts(names, content)
    utterances = []
    for name in names:
        if PurePosixPath(name).suffix.lower() not in SUFFIXES:
            continue
        path = PurePosixPath(name)
        language = _language(path.parts[:-1])
        if language is None:
            raise UsageError(f"{name}: no folder in its path names one of the languages {', '.join(lang.NAMES)}")
        if language in wanted:
            id = nfc(path.stem)
            utterances.append(Utterance(id, partial(audio, name), language, id.split("_")[0], transcripts.get(id)))
    utterances.sort(key=lambda one: (tuple(lang.NAMES).index(one.language), one.id))
    if not utterances:
        raise UsageError("mls44: it contains no audio")
    if any(one.transcript is None for one in utterances):
        notes = (*notes, "mls44: not every utterance has a transcript.")
    for left, what in ((unread, "texts that cannot be read as UTF-8"), (of_macos, "files of macOS")):
        if left:
            notes = (*notes, f"mls44: {len(left)} {what} were left out, for instance {left[0]}.")
    return Dataset("mls44", tuple(utterances), LICENSE, text_hash(FILE.pin or "", *(u.id for u in utterances)), notes)


def _language(folders: Iterable[str]) -> str | None:
    for folder in reversed(list(folders)):
        for word in (folder, *folder.lower().replace("-", "_").split("_")):
            if (found := lang.code(word)) is not None:
                return found
    return None


def _transcripts(names: Iterable[str], content: Callable[[str], bytes]) -> tuple[dict[str, str], list[str]]:
    """Id -> transcript, and the texts that could not be read."""
    found: dict[str, str] = {}
    unread: list[str] = []
    for name in names:
        path = PurePosixPath(name)
        if path.suffix != ".txt":
            continue
        try:
            text = decode(content(name), name).strip()
        except (UsageError, AudioError, OSError):
            unread.append(name)
            continue
        if "\t" in text:
            lines = (line.partition("\t") for _, line in numbered(text))
            found |= {nfc(PurePosixPath(key).stem): value.strip() for key, _, value in lines if value.strip()}
        elif text and "\n" not in text:
            found[nfc(path.stem)] = text
    return found, unread


LOADER = DatasetLoader(
    "mls44",
    load,
    preview,
    usage="mls44[:FILE.zip|DIR]",
    about="the paper's MLS at 44.1 kHz (languages=de+pl)",
    license=LICENSE,
    files=(FILE,),
)

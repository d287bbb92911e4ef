"""LibriTTS (Zen et al. 2019), 24 kHz, CC BY 4.0: `libritts:DIR`.

Another cut of LibriSpeech's recordings, with punctuated texts: scores on it do not compare with those on LibriSpeech.
The release (OpenSLR 60) has `SPEAKER/CHAPTER/SPEAKER_CHAPTER_PARAGRAPH_SENTENCE.wav` and, beside each, the text as
`*.normalized.txt` and `*.original.txt`.
"""

from functools import partial
from pathlib import Path

from evalkit.audio_files import audio_files
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, folder_in, place, read_at, text_hash
from evalkit.datasets.tables import read_text
from evalkit.environment.archives import Archive
from evalkit.errors import MissingError, UsageError
from evalkit.files import shown

RATE = 24_000
LICENSE = "CC BY 4.0"
TEXTS = ("normalized", "original")
ARCHIVE = Archive(
    "test-clean.tar.gz",
    LICENSE,
    0,
    url="https://www.openslr.org/resources/60/test-clean.tar.gz",
    kept="libritts/test-clean.tar.gz",
    sha256="234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5",
    member="LibriTTS/test-clean",
    folder="libritts/LibriTTS/test-clean",
)
HELP = (
    "`evalkit fetch libritts` downloads test-clean (about 1.2 GB); or give the folder that contains LibriTTS/, from "
    "https://www.openslr.org/60: --dataset libritts:DIR"
)


def load(source: str | None = None, *, split: str = "test-clean", text: str = "normalized") -> Dataset:
    """The utterances of a split, by id (`1089_134686_000001_000001`). An utterance that has a text and no audio costs
    its own rows, and so does audio that is not at 24 kHz; audio without a text has no transcript.

    Args:
        source: The folder with LibriTTS/, that folder, or the split's.
        split: `test-clean`, `test-other`, `dev-clean`, …
        text: `normalized` or `original`: which of the two texts is the transcript.

    Raises:
        MissingError: where the split is not there.
        UsageError: for a text that cannot be read.
    """
    if text not in TEXTS:
        raise UsageError(f"LibriTTS has the texts {' and '.join(TEXTS)}, not {text!r}")
    root = place(source, "libritts", HELP)
    folder = folder_in(root, f"LibriTTS/{split}", split, *([""] if root.name == split else []))
    if folder is None:
        raise MissingError(f"{shown(root)} holds no LibriTTS/{split}. {HELP}")
    texts = {path.name.removesuffix(f".{text}.txt"): path for path in folder.glob(f"*/*/[!.]*.{text}.txt")}
    files = audio_files(folder, known=("*.txt", "*.tsv"))
    audio = files.by_stem()
    utterances = [_utterance(id, audio.get(id), texts.get(id)) for id in sorted(texts.keys() | audio.keys())]
    if not utterances:
        raise MissingError(f"{shown(folder)} holds no SPEAKER/CHAPTER/*.wav. {HELP}")
    silent = sorted(audio.keys() - texts.keys())
    notes = list(files.notes)
    if silent:
        notes.append(f"libritts: {len(silent)} recordings have no {text} text, for instance {silent[0]}.")
    revision = text_hash("libritts", split, text, *(f"{one.id}\t{one.transcript or ''}" for one in utterances))
    return Dataset(f"libritts-{split}", tuple(utterances), LICENSE, revision, tuple(notes))


def _utterance(id: str, audio: Path | None, text: Path | None) -> Utterance:
    if audio is None:
        assert text is not None
        audio = text.with_name(f"{id}.wav")
    spoken = read_text(text).strip() if text is not None else ""
    return Utterance(id, partial(read_at, audio, RATE, "LibriTTS"), "en", id.partition("_")[0], spoken or None)


LOADER = DatasetLoader(
    "libritts",
    load,
    usage="libritts[:DIR]",
    about="LibriTTS, 24 kHz (split=test-clean, text=normalized)",
    license=LICENSE,
    files=(ARCHIVE,),
)

"""LibriSpeech (Panayotov et al. 2015), 16 kHz, CC BY 4.0: the set of most codec papers at 2 kbps and below.

`librispeech:DIR` reads the release (OpenSLR 12), `SPEAKER/CHAPTER/SPEAKER-CHAPTER-INDEX.flac` with a `*.trans.txt` in
each chapter; `librispeech:hub` reads the parquet files of `openslr/librispeech_asr`. Transcripts are in capitals and
without punctuation, as released.
"""

import re
from functools import partial
from pathlib import Path

from evalkit.audio_files import audio_files, unlisted
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, folder_in, place, read_at, text_hash
from evalkit.datasets.tables import Line, read_keyed, refuse_twice
from evalkit.environment.archives import Archive
from evalkit.errors import MissingError, UsageError
from evalkit.files import shown

RATE = 16_000
LICENSE = "CC BY 4.0"
SPLITS = (
    "dev-clean", "dev-other", "test-clean", "test-other", "train-clean-100", "train-clean-360", "train-other-500",
)  # fmt: skip
HUB, HUB_REVISION = "openslr/librispeech_asr", "71cacbfb7e2354c4226d01e70d77d5fca3d04ba1"
ARCHIVE = Archive(
    "test-clean.tar.gz",
    LICENSE,
    346_663_984,
    url="https://www.openslr.org/resources/12/test-clean.tar.gz",  # published MD5: 32fa31d27d2e1cad72775fee3f4849a9
    kept="librispeech/test-clean.tar.gz",
    sha256="39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
    member="LibriSpeech/test-clean",
    folder="librispeech/LibriSpeech/test-clean",
)
HELP = (
    "`evalkit fetch librispeech` downloads test-clean (347 MB); or give the folder that contains LibriSpeech/, from "
    "https://www.openslr.org/12: --dataset librispeech:DIR; or read it from the Hub: --dataset librispeech:hub"
)


def load(source: str | None = None, *, split: str = "test-clean", revision: str | None = None) -> Dataset:
    """The utterances of a split, by id (`1089-134686-0000`). Of a folder, what the transcripts name is the list: audio
    that is not there costs its own rows, and so does audio that is not at 16 kHz.

    Args:
        source: The folder with LibriSpeech/, that folder, or the split's; or `hub`.
        split: `test-clean`, `test-other`, `dev-clean`, …
        revision: Of the hub, the commit to read instead of the one that is recorded here.

    Raises:
        MissingError: where the split is not there.
        UsageError: for another split than there is, and, with the line, for damaged transcripts.
    """
    if split not in SPLITS:
        raise UsageError(f"LibriSpeech has no split {split!r}; it has: {', '.join(SPLITS)}")
    if source == "hub":
        return _from_hub(split, revision or HUB_REVISION)
    if revision is not None:
        raise UsageError("revision is for librispeech:hub, not for a folder")
    root = place(source, "librispeech", HELP)
    folder = folder_in(root, f"LibriSpeech/{split}", split, *([""] if root.name == split else []))
    if folder is None:
        raise MissingError(f"{shown(root)} holds no LibriSpeech/{split}. {HELP}")
    lines = [line for listed in sorted(folder.glob("*/*/[!.]*.trans.txt")) for line in _lines(listed)]
    refuse_twice("two entries for", [(line, line.get("key")) for line in lines])
    utterances = sorted((_utterance(line) for line in lines), key=lambda one: one.id)
    if not utterances:
        raise MissingError(f"{shown(folder)} holds no SPEAKER/CHAPTER/*.trans.txt. {HELP}")
    known = {one.id for one in utterances}
    files = audio_files(folder, known=("*.trans.txt",))
    others = [name for name in files.files if name.rpartition("/")[2] not in known]
    notes = (*files.notes, *unlisted(others, len(utterances), folder / "*/*/*.trans.txt"))
    return Dataset(f"librispeech-{split}", tuple(utterances), LICENSE, _revision(split, utterances), notes)


def _lines(listed: Path) -> tuple[Line, ...]:
    speaker, chapter = listed.parts[-3:-1]
    before = f"{speaker}-{chapter}-"
    return read_keyed(listed, f"{before}INDEX and a transcript", re.escape(before) + r"\d+")


def _utterance(line: Line) -> Utterance:
    path = line.path.with_name(f"{line.get('key')}.flac")
    audio = partial(read_at, path, RATE, "LibriSpeech")
    return Utterance(line.get("key"), audio, "en", line.get("key").partition("-")[0], line.get("text") or None)


def _from_hub(split: str, revision: str) -> Dataset:
    from evalkit.datasets import huggingface

    name = split.replace("-", ".")
    table, commit = huggingface.open_table(HUB, f"all/{name}/*.parquet", name, revision)
    utterances = sorted(huggingface.rows_of(table, HUB, id="id", language="en"), key=lambda one: one.id)
    notes = (f"LibriSpeech was read from {HUB} at {commit}.",)
    return Dataset(f"librispeech-{split}", tuple(utterances), LICENSE, _revision(split, utterances), notes)


def _revision(split: str, utterances: list[Utterance]) -> str:
    """The same for the release and the hub: of ids and transcripts."""
    return text_hash("librispeech", split, *(f"{one.id}\t{one.transcript or ''}" for one in utterances))


LOADER = DatasetLoader(
    "librispeech",
    load,
    usage="librispeech[:DIR|hub]",
    about="LibriSpeech, 16 kHz (split=test-clean; on the Hub: revision=COMMIT)",
    license=LICENSE,
    files=(ARCHIVE,),
)

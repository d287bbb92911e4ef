"""VCTK 0.92 (Yamagishi et al. 2019), 48 kHz, CC BY 4.0: `vctk:DIR`.

The release has `wav48_silence_trimmed/SPEAKER/SPEAKER_INDEX_mic1.flac` (and `_mic2`) and, for the texts,
`txt/SPEAKER/SPEAKER_INDEX.txt`. It has no test set of its own: take some speakers, or some utterances with --limit.
"""

from functools import partial

from evalkit.audio_files import audio_files
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, folder_in, place, read_at, text_hash
from evalkit.datasets.tables import read_text
from evalkit.errors import MissingError, UsageError
from evalkit.files import shown

RATE = 48_000
LICENSE = "CC BY 4.0"
MICROPHONES = ("mic1", "mic2")
HELP = (
    "VCTK is VCTK-Corpus-0.92.zip (11 GB, https://datashare.ed.ac.uk/handle/10283/3443; sha256 "
    "f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c); unpack it and give the folder that contains "
    "wav48_silence_trimmed/ and txt/: --dataset vctk:DIR"
)


def load(source: str | None = None, *, mic: str = "mic1", speakers: str = "all") -> Dataset:
    """The recordings of a microphone, by id (`p225_001`). Audio that is not at 48 kHz costs its own rows.

    The notes count recordings without a text (in the release, all of p315) and texts without a recording (p280, mic2).

    Args:
        source: The folder that holds wav48_silence_trimmed/ and txt/, or the one above it.
        mic: `mic1` or `mic2`.
        speakers: Joined by +, or `all`.

    Raises:
        MissingError: where the folder is not there, or lacks a speaker.
        UsageError: for another microphone, and for a text that cannot be read.
    """
    if mic not in MICROPHONES:
        raise UsageError(f"VCTK has the microphones {' and '.join(MICROPHONES)}, not {mic!r}")
    root = place(source, "vctk", HELP)
    folder = folder_in(root, "wav48_silence_trimmed", "VCTK-Corpus-0.92/wav48_silence_trimmed")
    if folder is None:
        raise MissingError(f"{shown(root)} holds no wav48_silence_trimmed. {HELP}")
    files = audio_files(folder, known=("*.txt",))
    audio = {name.removesuffix(f"_{mic}"): path for name, path in files.by_stem().items() if name.endswith(f"_{mic}")}
    texts = {path.stem: path for path in folder.parent.glob("txt/*/[!.]*.txt")}
    there = {id.partition("_")[0] for id in audio}
    wanted = there if speakers == "all" else set(speakers.split("+"))
    if absent := sorted(wanted - there):
        raise MissingError(f"{shown(folder)} has no recordings of {', '.join(absent)} by {mic}. {HELP}")
    utterances = []
    for id in sorted(audio):
        speaker = id.partition("_")[0]
        if speaker in wanted:
            spoken = read_text(texts[id]).strip() if id in texts else ""
            utterances.append(Utterance(id, partial(read_at, audio[id], RATE, "VCTK"), "en", speaker, spoken or None))
    if not utterances:
        raise MissingError(f"{shown(folder)} holds no SPEAKER/*_{mic}.flac. {HELP}")
    notes = list(files.notes)
    for others, what in (
        ([one.id for one in utterances if one.id not in texts], "recordings have no text"),
        (
            sorted(id for id in texts.keys() - audio.keys() if speakers == "all" or id.partition("_")[0] in wanted),
            f"texts have no {mic}",
        ),
    ):
        if others:
            notes.append(f"vctk: {len(others)} {what}, for instance {others[0]}.")
    revision = text_hash("vctk", mic, *(f"{one.id}\t{one.transcript or ''}" for one in utterances))
    return Dataset(f"vctk-{mic}", tuple(utterances), LICENSE, revision, tuple(notes))


LOADER = DatasetLoader(
    "vctk",
    load,
    usage="vctk[:DIR]",
    about="VCTK 0.92, 48 kHz (mic=mic1, speakers=p225+p226)",
    license=LICENSE,
)

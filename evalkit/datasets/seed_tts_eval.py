"""The recordings of SEED-TTS-eval (Anastassiou et al. 2024): `seed-tts-eval:DIR`.

English from Common Voice, Chinese from DiDiSpeech-2. A folder for each language has a list, `meta.lst`, whose lines are

    NAME|text of the prompt|prompt-wavs/FILE.wav|text of the utterance[|recording of the utterance]

The recording is `wavs/NAME.wav` unless the line says otherwise. Made for synthesis; codecs are measured on the
recordings themselves: either those of the utterances, or the prompts.
"""

from pathlib import Path, PurePosixPath

from evalkit.datasets.base import Dataset, DatasetLoader, Utterance, folder_in, place, text_hash
from evalkit.datasets.tables import numbered, read_text
from evalkit.errors import MissingError, UsageError
from evalkit.files import locate, nfc, shown

LICENSE = "not stated (English from Common Voice, CC0; Chinese from DiDiSpeech-2, restricted)"
LANGUAGES = ("en", "zh")
RECORDINGS = ("utterances", "prompts")
HELP = (
    "SEED-TTS-eval is linked from https://github.com/BytedanceSpeech/seed-tts-eval; unpack it and give the folder "
    "that contains en/ and zh/: --dataset seed-tts-eval:DIR"
)


def load(
    source: str | None = None, *, languages: str = "en", recordings: str = "utterances", meta: str = "meta.lst"
) -> Dataset:
    """The recordings that the lists name, by language and in the order of the list; each prompt once. A name without
    audio costs its own rows.

    Args:
        source: The folder that holds en/ and zh/, or the one above it.
        languages: `en`, `zh` or `en+zh`.
        recordings: `utterances` or `prompts`.
        meta: The list to read, for instance `non_para_reconstruct_meta.lst`.

    Raises:
        MissingError: where the folder or a list is not there.
        UsageError: with the line, for a list that is damaged.
    """
    wanted = languages.split("+")
    if unknown := sorted(set(wanted) - set(LANGUAGES)):
        raise UsageError(f"SEED-TTS-eval has the languages {' and '.join(LANGUAGES)}, not {', '.join(unknown)}")
    if recordings not in RECORDINGS:
        raise UsageError(f"SEED-TTS-eval has the recordings {' and '.join(RECORDINGS)}, not {recordings!r}")
    root = place(source, "seed-tts-eval", HELP)
    utterances: dict[str, Utterance] = {}
    texts = []
    for language in wanted:
        folder = folder_in(root, language, f"seedtts_testset/{language}")
        if folder is None or not (folder / meta).is_file():
            raise MissingError(f"{shown(root)} holds no {language}/{meta}. {HELP}")
        texts.append(text := read_text(folder / meta))
        for number, line in numbered(text):
            one = _utterance(folder, f"{shown(folder / meta)}, line {number}", line, language, recordings)
            known = utterances.setdefault(one.id, one)
            if known is not one and (recordings == "utterances" or known != one):
                raise UsageError(f"{shown(folder / meta)}, line {number}: {one.id!r} is already on an earlier line")
    name = f"seed-tts-eval-{languages}" + ("-prompts" if recordings == "prompts" else "")
    revision = text_hash("seed-tts-eval", recordings, *texts)
    return Dataset(name, tuple(utterances.values()), LICENSE, revision)


def _utterance(folder: Path, place: str, line: str, language: str, recordings: str) -> Utterance:
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (4, 5) or not fields[0] or not fields[2]:
        raise UsageError(f"{place}: expected NAME|text of the prompt|prompt|text of the utterance[|recording]")
    name, prompt_text, prompt, text = fields[:4]
    file = prompt if recordings == "prompts" else fields[4] if len(fields) == 5 else f"wavs/{name}.wav"
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"{place}: {file!r} is a path outside the dataset")
    id = nfc(path.stem if recordings == "prompts" else name)
    spoken = prompt_text if recordings == "prompts" else text
    return Utterance(id, locate(folder, file), language, transcript=spoken or None)


LOADER = DatasetLoader(
    "seed-tts-eval",
    load,
    usage="seed-tts-eval[:DIR]",
    about="SEED-TTS-eval's recordings (languages=en+zh, recordings=prompts, meta=FILE)",
    license=LICENSE,
)

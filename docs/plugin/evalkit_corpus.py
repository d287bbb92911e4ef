"""An example of a dataset: `evalkit run --codec mulaw --dataset corpus:DIR`.

A folder for each speaker with `NAME.wav` and, beside it, what was said as `NAME.txt`.
"""

from pathlib import Path

from evalkit.audio_files import audio_files
from evalkit.datasets import Dataset, DatasetLoader, Utterance
from evalkit.errors import MissingError


def load(source: str | None = None, *, language: str = "en") -> Dataset:
    """Every recording below the folder `source`. Audio is read later, and one utterance at a time."""
    if source is None:
        raise MissingError("give the folder: --dataset corpus:DIR")
    files = audio_files(source, known=("*.txt",))
    utterances = []
    for name, path in files.by_name().items():
        text = path.with_suffix(".txt")
        spoken = text.read_text(encoding="utf-8").strip() if text.is_file() else None
        utterances.append(Utterance(name, Path(path), language, speaker=name.partition("/")[0], transcript=spoken))
    return Dataset("corpus", tuple(utterances), license="CC BY 4.0", revision="1", notes=files.notes)


LOADER = DatasetLoader(
    "corpus", load, usage="corpus:DIR", about="an example of a dataset (language=en)", license="CC BY 4.0"
)

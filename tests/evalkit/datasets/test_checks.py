"""`check_dataset` holds for evalkit's own data, and names what is wrong with others'."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from evalkit import datasets, plugins
from evalkit.audio import Audio
from evalkit.cli import main
from evalkit.datasets import Dataset, DatasetLoader, Utterance
from evalkit.errors import AudioError, MissingError
from evalkit.soundfiles import write
from evalkit.testing import check_dataset

AUDIO = Audio(np.linspace(-0.5, 0.5, 1600, dtype=np.float32), 16_000)
GOOD = Utterance("a", AUDIO, "pl", "s1", "tekst")


def made(*utterances: Utterance, **other: object) -> Dataset:
    return Dataset(**{"name": "mine", "utterances": utterances, "license": "CC0-1.0", "revision": "1"} | other)  # type: ignore[arg-type]


def test_the_set_that_ships_keeps_the_contract() -> None:
    check_dataset(datasets.loader("builtin"), recordings=None)


@pytest.mark.parametrize("name", plugins.names("dataset"))
def test_every_loader_declares_itself_and_says_how_to_get_its_data(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    loader = datasets.loader(name)
    assert loader.name == name and loader.about
    if name != "builtin":
        with pytest.raises(MissingError, match=f"--dataset {name}:"):
            check_dataset(loader)


def test_the_help_of_run_names_every_kind_of_data(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    for name in plugins.names("dataset"):
        assert f"  {datasets.loader(name).usage or name} " in shown and datasets.loader(name).about in shown


def test_a_folder_keeps_it_with_files_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", AUDIO)
    (tmp_path / "b.wav").write_bytes(b"not audio")
    check_dataset(lambda: datasets.load_dataset(f"folder:{tmp_path}"), recordings=None)


def no_audio() -> Audio:
    raise ValueError("odd")


def refused() -> Audio:
    raise AudioError("gone")


@dataclass
class Fickle:
    """Another audio each time."""

    count: int = 0

    def __call__(self) -> Audio:
        self.count += 1
        return Audio(AUDIO.wav * np.float32(1 / self.count), 16_000)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (made(), "mine: utterances is empty"),
        (made(GOOD, name=""), "name must be a string, not ''"),
        (made(GOOD, license=None), "license must be a string, not None"),
        (made(GOOD, revision=3), "revision must be a string, not 3"),
        (made(GOOD, notes="a sentence"), "notes must be a tuple of sentences, not 'a sentence'"),
        (made(replace(GOOD, id=0)), "id must be a string without surrounding spaces, not 0"),
        (made(replace(GOOD, id=" a")), "id must be a string without surrounding spaces, not ' a'"),
        (made(replace(GOOD, id="a\x1b")), "id has characters that cannot be printed"),
        (made(replace(GOOD, id="a\udcdf")), "id has characters that cannot be printed"),
        (made(replace(GOOD, id="e\u0301")), "accents composed"),
        (made(replace(GOOD, language="Polish")), "mine, a: language must be ISO 639.* not 'Polish'"),
        (made(replace(GOOD, speaker=0)), "mine, a: speaker must be a string, not 0"),
        (made(replace(GOOD, transcript="")), "mine, a: transcript must be a string or None, not ''"),
        (made(replace(GOOD, source=lambda: AUDIO)), "mine, a: source must be picklable.*functools.partial"),
        (made(replace(GOOD, source=no_audio)), "mine, a: source must raise AudioError, not ValueError: odd"),
        (made(replace(GOOD, source=partial(dict))), "mine, a: source must give Audio, not {}"),
        (made(replace(GOOD, source=Fickle())), "mine, a: source gave different audio the second time"),
        (made(replace(GOOD, source=Audio(AUDIO.wav.astype(np.float64), 16_000))), "wav must be float32"),  # type: ignore[arg-type]
        (
            made(replace(GOOD, source=Audio(AUDIO.wav[None], 16_000))),
            r"wav must be float32 \[T\], not float32 \(1, 1600\)",
        ),
        (made(replace(GOOD, source=Audio(AUDIO.wav[:0], 16_000))), "wav has no samples"),
        (made(replace(GOOD, source=Audio(AUDIO.wav * np.float32("nan"), 16_000))), "NaN or infinite"),
        (made(replace(GOOD, source=Audio(AUDIO.wav, 16))), "sample_rate must be Hz, .* not 16"),
        (DatasetLoader("mine", lambda: made(GOOD), usage="yours:DIR"), "usage must begin with the name: 'yours:DIR'"),
        (DatasetLoader("mine", lambda: made(GOOD), about="two\nlines"), "about must be a one-line string"),
        (DatasetLoader("mine", lambda: made(GOOD), files=("x",)), "files must be File objects"),  # type: ignore[arg-type]
        (DatasetLoader("mine", lambda: [GOOD]), "load must return a Dataset, not"),  # type: ignore[arg-type, return-value]
        ("builtin", "'builtin' is neither a Dataset nor a DatasetLoader nor a function"),
    ],
)
def test_what_is_wrong_is_named(dataset: object, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_dataset(dataset)  # type: ignore[arg-type]


def test_a_loader_gives_the_same_each_time() -> None:
    ids = iter("abcd")
    with pytest.raises(AssertionError, match="loading twice gave different utterances"):
        check_dataset(lambda: made(replace(GOOD, id=next(ids))))
    with pytest.raises(AssertionError, match="loading twice gave different revisions"):
        check_dataset(lambda: made(GOOD, revision=next(ids)))
    check_dataset(made(GOOD, replace(GOOD, id="b", source=refused)))

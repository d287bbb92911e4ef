"""Checks that a loader follows the contract of `evalkit.datasets.base`; also `evalkit.testing.check_dataset`."""

import pickle
import re
from collections.abc import Callable

import numpy as np

from evalkit.audio import Audio
from evalkit.datasets.base import Dataset, DatasetLoader, Utterance
from evalkit.environment.downloads import File
from evalkit.errors import AudioError
from evalkit.files import nfc
from evalkit.soundfiles import HIGHEST_RATE, LOWEST_RATE

LANGUAGE = re.compile(r"[a-z]{2,3}")


def check_dataset(dataset: Dataset | DatasetLoader | Callable[[], Dataset], recordings: int | None = 3) -> None:
    """Raise AssertionError, which names the wrong attribute and value, unless `dataset` follows the contract:

    - a loader declares what it must, and returns the same utterances each time;
    - name, license, revision and notes are texts; ids are texts that differ and can be stored;
    - language, speaker and transcript have valid values;
    - the first utterances can be pickled, and return the same finite float32 audio [T] each time. Audio that cannot be
      read raises AudioError, which fails only its own rows.

    Args:
        dataset: A dataset, a loader, or a function without arguments that returns a dataset.
        recordings: How many utterances to read, from the first; None for all.
    """
    if isinstance(dataset, Dataset):
        check_declarations(dataset)
        check_audio(dataset, recordings)
        return
    if isinstance(dataset, DatasetLoader):
        check_loader(dataset)
    assert callable(dataset), (
        f"{dataset!r} is neither a Dataset nor a DatasetLoader nor a function that returns a dataset"
    )
    first, again = dataset(), dataset()
    name = getattr(dataset, "name", getattr(dataset, "__name__", dataset))
    assert isinstance(first, Dataset), f"{name}: load must return a Dataset, not {first!r}"
    assert [u.id for u in first] == [u.id for u in again], f"{name}: loading twice gave different utterances"
    assert first.revision == again.revision, f"{name}: loading twice gave different revisions"
    check_dataset(first, recordings)


def check_loader(loader: DatasetLoader) -> None:
    """What a loader declares of itself."""
    name = loader.name
    assert isinstance(name, str) and name, f"name must be a string, not {name!r}"
    for what in ("usage", "about", "license"):
        value = getattr(loader, what)
        assert isinstance(value, str) and "\n" not in value, f"{name}: {what} must be a one-line string, not {value!r}"
    assert callable(loader.load), f"{name}: load must be a function, not {loader.load!r}"
    assert not loader.usage or loader.usage.startswith(name), (
        f"{name}: usage must begin with the name: {loader.usage!r}"
    )
    assert all(isinstance(one, File) for one in loader.files), f"{name}: files must be File objects: {loader.files!r}"


def check_declarations(dataset: Dataset) -> None:
    """Everything but the audio."""
    for what in ("name", "license", "revision"):
        value = getattr(dataset, what)
        assert isinstance(value, str) and value, f"{what} must be a string, not {value!r}"
    name = dataset.name
    assert isinstance(dataset.notes, tuple) and all(isinstance(note, str) and note for note in dataset.notes), (
        f"{name}: notes must be a tuple of sentences, not {dataset.notes!r}"
    )
    assert len(dataset), f"{name}: utterances is empty"
    for utterance in dataset:
        assert isinstance(utterance, Utterance), f"{name}: utterances must be Utterance objects, not {utterance!r}"
        id = utterance.id
        assert isinstance(id, str) and id.strip() == id != "", (
            f"{name}: id must be a string without surrounding spaces, not {id!r}"
        )
        assert id.isprintable(), f"{name}: id has characters that cannot be printed: {id!r}"
        assert id == nfc(id), f"{name}: id must have its accents composed (Unicode NFC): {id!r}"
        language = utterance.language
        assert isinstance(language, str) and (not language or LANGUAGE.fullmatch(language)), (
            f"{name}, {id}: language must be ISO 639, such as 'pl', or '', not {language!r}"
        )
        assert isinstance(utterance.speaker, str), f"{name}, {id}: speaker must be a string, not {utterance.speaker!r}"
        spoken = utterance.transcript
        assert spoken is None or (isinstance(spoken, str) and spoken.strip()), (
            f"{name}, {id}: transcript must be a string or None, not {spoken!r}"
        )


def check_audio(dataset: Dataset, recordings: int | None = None) -> None:
    """The audio of the first `recordings` utterances."""
    for utterance in dataset.utterances[:recordings]:
        where = f"{dataset.name}, {utterance.id}"
        try:
            copy = pickle.loads(pickle.dumps(utterance))
        except Exception as error:
            raise AssertionError(
                f"{where}: source must be picklable ({error}): make it functools.partial of a module's function"
            ) from error
        first = _audio_of(utterance, where)
        if isinstance(first, Audio):
            _check_samples(first, where)
        for again in (_audio_of(utterance, where), _audio_of(copy, where)):
            assert type(first) is type(again), f"{where}: source returned audio only once"
            assert (
                not isinstance(first, Audio) or not isinstance(again, Audio) or first.pcm_hash() == again.pcm_hash()
            ), f"{where}: source gave different audio the second time"


def _audio_of(utterance: Utterance, where: str) -> Audio | AudioError:
    try:
        audio = utterance.audio()
    except AudioError as error:
        return error
    except Exception as error:
        raise AssertionError(f"{where}: source must raise AudioError, not {type(error).__name__}: {error}") from error
    assert isinstance(audio, Audio), f"{where}: source must give Audio, not {audio!r}"
    return audio


def _check_samples(audio: Audio, where: str) -> None:
    wav, rate = audio.wav, audio.sample_rate
    assert wav.dtype == np.float32 and wav.ndim == 1, f"{where}: wav must be float32 [T], not {wav.dtype} {wav.shape}"
    assert len(wav), f"{where}: wav has no samples"
    assert np.isfinite(wav).all(), f"{where}: wav has NaN or infinite samples"
    assert isinstance(rate, int) and LOWEST_RATE <= rate <= HIGHEST_RATE, (
        f"{where}: sample_rate must be Hz, {LOWEST_RATE} to {HIGHEST_RATE}, not {rate!r}"
    )

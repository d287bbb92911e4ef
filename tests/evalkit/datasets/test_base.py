"""Utterances, datasets and manifests."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from evalkit.audio import Audio
from evalkit.datasets import Dataset, Utterance, read_manifest
from evalkit.errors import AudioError, UsageError
from evalkit.soundfiles import write

AUDIO = Audio(np.linspace(-0.5, 0.5, 800, dtype=np.float32), 16_000)


def part(path: Path, start: int, stop: int) -> Audio:
    whole = Utterance("whole", path).audio()
    return Audio(whole.wav[start:stop], whole.sample_rate)


def manifest(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_audio_comes_from_a_file_from_memory_or_from_a_function(tmp_path) -> None:
    path = tmp_path / "a.wav"
    write(path, AUDIO)
    assert np.array_equal(Utterance("a", path).audio().wav, AUDIO.wav)
    assert Utterance("a", AUDIO).audio() is AUDIO
    cut = pickle.loads(pickle.dumps(Utterance("a", partial(part, path, 100, 300))))
    assert np.array_equal(cut.audio().wav, AUDIO.wav[100:300])
    assert Utterance("a", path).path == path and cut.path is None


def test_a_bad_file_costs_its_own_utterance_only(tmp_path) -> None:
    write(tmp_path / "good.wav", AUDIO)
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    text = "id,file\ngood,good.wav\nbad,bad.wav\ngone,gone.wav\n"
    good, bad, gone = read_manifest(manifest(tmp_path, text), "mine", "CC0-1.0")
    assert good.audio().sample_rate == 16_000
    assert (good.language, good.speaker, good.transcript) == ("", "", None)
    for utterance in (bad, gone):
        with pytest.raises(AudioError, match=rf"{utterance.id}\.wav"):
            utterance.audio()


def test_a_manifest_keeps_its_order_and_its_text(tmp_path) -> None:
    text = '\ufeffid,file,transcript,language,speaker,take\nz,z.wav,"Zażółć, gęślą ""jaźń""",pl,s1,2\na,a.wav,,de,,1\n'
    dataset = read_manifest(manifest(tmp_path, text), "mine", "CC0-1.0")
    assert [u.id for u in dataset] == ["z", "a"] and len(dataset) == 2
    assert dataset.utterances[0].transcript == 'Zażółć, gęślą "jaźń"'
    assert dataset.utterances[1].transcript is None
    assert dataset.languages == ("pl", "de")


def test_the_revision_follows_the_text_not_the_line_ends(tmp_path) -> None:
    path = tmp_path / "manifest.csv"
    revisions = []
    for text in (b"id,file\na,a.wav\n", b"id,file\r\na,a.wav\r\n", b"id,file\na,b.wav\n"):
        path.write_bytes(text)
        revisions.append(read_manifest(path, "mine", "CC0-1.0").revision)
    assert revisions[0] == revisions[1] != revisions[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,file\na,a.wav\n", r"lacks the column\(s\) id; it has: name, file"),
        ("", r"lacks the column\(s\) id, file"),
        ("id,file\na,a.wav\na,b.wav\n", "lines 2 and 3: two utterances have the id 'a'"),
        ("id,file\n,a.wav\n", "line 2: no value for id"),
        ("id,file\na\n", "line 2: no value for file"),
    ],
)
def test_a_manifest_that_is_wrong_says_where(tmp_path, text, message) -> None:
    with pytest.raises(UsageError, match=message):
        read_manifest(manifest(tmp_path, text), "mine", "CC0-1.0")


def test_a_manifest_that_cannot_be_read_says_so(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"gone\.csv cannot be read: No such file"):
        read_manifest(tmp_path / "gone.csv", "mine", "CC0-1.0")
    (tmp_path / "latin.csv").write_bytes("id,file\né,é.wav\n".encode("latin-1"))
    with pytest.raises(UsageError, match="not text in UTF-8"):
        read_manifest(tmp_path / "latin.csv", "mine", "CC0-1.0")


def test_ids_are_unique_in_any_dataset() -> None:
    twice = (Utterance("a", AUDIO), Utterance("a", AUDIO))
    with pytest.raises(UsageError, match="dataset mine: two utterances have the id 'a'"):
        Dataset("mine", twice, "CC0-1.0", "0")

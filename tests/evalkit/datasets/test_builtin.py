"""The set that ships: what it holds, and that it can be made again."""

import csv

import numpy as np
import pytest

from evalkit import plugins
from evalkit.datasets import builtin
from evalkit.datasets.builtin import build

DATASET = builtin.load()
MLS = {"en", "de", "nl", "fr", "es", "it", "pt", "pl"}
needs_engines = pytest.mark.skipif(
    bool(build.missing_engines()), reason=f"not installed: {', '.join(build.missing_engines())}"
)


def manifest_rows() -> list[dict[str, str]]:
    with builtin.MANIFEST.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_it_is_registered() -> None:
    assert plugins.load("dataset", "builtin")() == DATASET


def test_all_languages_of_mls_are_there_one_of_each_first() -> None:
    assert set(DATASET.languages) == MLS
    assert {u.language for u in DATASET.utterances[: len(MLS)]} == MLS
    assert len({u.speaker for u in DATASET if u.language == "en"}) >= 6
    assert all(u.transcript for u in DATASET)


def test_it_is_small_and_its_utterances_are_long_enough() -> None:
    assert sum(u.path.stat().st_size for u in DATASET if u.path) <= 5_000_000
    seconds = [u.audio().seconds for u in DATASET]
    assert min(seconds) >= 4 and max(seconds) <= 7 and np.mean(seconds) >= 5


def test_the_audio_is_what_the_manifest_says() -> None:
    for utterance, row in zip(DATASET, manifest_rows(), strict=True):
        audio = utterance.audio()
        assert (str(audio.sample_rate), audio.pcm_hash()) == (row["sample_rate"], row["pcm_sha256"]), utterance.id
        assert 0.2 < np.abs(audio.wav).max() < 1, f"{utterance.id} is clipped or far too quiet"


def test_no_file_is_left_over() -> None:
    files = {path.name for path in builtin.MANIFEST.parent.glob("*.flac")}
    assert files == {row["file"] for row in manifest_rows()}


def test_the_revision_is_stable() -> None:
    assert builtin.load().revision == DATASET.revision
    assert len(DATASET.revision) == len(DATASET.ids_hash) == 64


@needs_engines
def test_rebuilding_is_bit_identical(tmp_path) -> None:
    build.build(tmp_path / "a")
    assert build.build(tmp_path / "b", tmp_path / "a" / "manifest.csv") == []
    for first in (tmp_path / "a").iterdir():
        assert first.read_bytes() == (tmp_path / "b" / first.name).read_bytes(), first.name


@needs_engines
def test_what_differs_is_named(tmp_path, capsys) -> None:
    assert build.main(["--output", str(tmp_path)]) == 0
    assert "identical to the set that ships" in (out := capsys.readouterr().out) or "differs in" in out


def test_missing_engines_are_named(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert build.main(["--output", str(tmp_path)]) == 3
    assert "not on this machine: espeak-ng flite" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

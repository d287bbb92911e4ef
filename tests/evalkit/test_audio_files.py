"""Finding audio: nothing is lost without a word."""

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from evalkit.audio_files import audio_files
from evalkit.datasets.base import Utterance
from evalkit.errors import AudioError, UsageError
from evalkit.files import locate
from evalkit.pipeline.systems import finder


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_linked_folders_are_read_once_and_circles_end(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "sub" / "1.wav", tmp_path / "set" / "real" / "2.WAV")
    (tmp_path / "set" / "de").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "again").symlink_to("real")
    (tmp_path / "set" / "real" / "circle").symlink_to("..")
    found = audio_files(tmp_path / "set")
    assert list(found.files) == ["de/sub/1", "real/2"]
    assert found.left_out == {"link(s) to folders already read": ["again/", "real/circle/"]}
    assert "2 of 2 files were used; skipped: 2 link(s)" in found.notes[0]


def test_links_to_nothing_fail_when_they_are_read_or_are_counted(tmp_path: Path) -> None:
    for name in ("a.wav", "notes"):
        (tmp_path / name).symlink_to("gone")
    (tmp_path / "b.wav").symlink_to("b.wav")
    found = audio_files(tmp_path)
    assert list(found.files) == ["a", "b"] and found.left_out == {"broken link(s)": ["notes"]}


def test_what_is_left_out_is_counted_with_its_kinds(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a.wav", "a.txt", "b.lab", "c.txt", "d", ".hidden.wav", ".cache/x.wav")))
    note = audio_files(tmp_path).notes
    assert note == (
        f"{tmp_path}: 1 of 6 files were used; skipped: 2 hidden (.cache/, .hidden.wav); "
        "4 without an audio suffix (.lab, .txt, no suffix).",
    )
    assert audio_files(tmp_path, known=("a.txt", "b.lab", "c.txt", "d")).notes[0].endswith(".hidden.wav).")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.wav", tmp_path / "secret" / "b.wav")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "1 folder(s) that could not be read: Permission denied (secret/)" in audio_files(tmp_path).notes[0]


def test_names_are_composed_and_can_be_stored(tmp_path: Path) -> None:
    touch(tmp_path / (unicodedata.normalize("NFD", "été") + ".wav"))
    assert list(audio_files(tmp_path).files) == ["été"]
    if sys.platform != "darwin":  # its file systems have no such names
        touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/stra\xdfe.wav")), tmp_path / "été.wav")
        found = audio_files(tmp_path)
        assert list(found.files) == ["stra\\xdfe", "été"] and len(found) == 3
        with pytest.raises(UsageError, match="have the same name"):
            found.by_name()


def test_a_file_is_located_whatever_form_its_accents_have(tmp_path: Path) -> None:
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        there = tmp_path / form / (unicodedata.normalize(form, "zażółć") + ".wav")
        touch(there)
        assert locate(tmp_path / form, unicodedata.normalize(other, "zażółć") + ".wav") == there
    assert locate(tmp_path, "gone.wav") == tmp_path / "gone.wav"
    assert locate(tmp_path, "~/x.wav") == Path.home() / "x.wav"


def test_rendered_audio_is_found_by_id_and_never_outside_its_folder(tmp_path: Path) -> None:
    touch(tmp_path / "secret.wav", tmp_path / "theirs" / "en" / "été.wav", tmp_path / "theirs" / "a.caf")
    find = finder(audio_files(tmp_path / "theirs"))
    accented = Utterance(unicodedata.normalize("NFD", "en/été"), tmp_path)
    assert find(Utterance("a", tmp_path)).name == "a.caf" and find(accented).is_file()
    for id in ("../secret", str(tmp_path / "secret"), "en/../../secret", "en/../a", "", "a\0b"):
        with pytest.raises(AudioError, match="has no audio file named"):
            find(Utterance(id, tmp_path))


def test_no_folder_and_no_audio_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone does not exist"):
        audio_files(tmp_path / "gone")
    touch(tmp_path / "a.m4a")
    with pytest.raises(UsageError, match=r"a\.m4a is not a folder"):
        audio_files(tmp_path / "a.m4a")
    with pytest.raises(UsageError, match=r"holds no audio .*1 without an audio suffix \(\.m4a\)"):
        audio_files(tmp_path).by_name()

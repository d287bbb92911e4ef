"""Paths, and files that are replaced whole or not at all."""

import os
from pathlib import Path
from threading import Thread

import pytest

from evalkit.environment import folders
from evalkit.files import expanded, shown
from nanocodec.atomic import replacing


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    with replacing(path) as partial:
        partial.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first" and [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    with replacing(tmp_path / "link.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"


def test_a_pipe_or_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    came: list[str] = []
    reader = Thread(target=lambda: came.append(pipe.read_text()), daemon=True)
    reader.start()
    with replacing(pipe) as partial:
        partial.write_text("through")
    reader.join(10)
    assert came == ["through"] and pipe.is_fifo() and len(list(tmp_path.iterdir())) == 1


def test_a_home_is_expanded_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert expanded("~/x") == Path("/home/anna/x") and expanded(Path("a~")) == Path("a~")
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


def test_a_user_without_a_home_gets_no_folder_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = "HOME XDG_CACHE_HOME XDG_DATA_HOME EVALKIT_CACHE EVALKIT_DATA HF_HOME HF_HUB_CACHE TORCH_HOME"
    for name in variables.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)  # of nobody, as in a container
    assert expanded("~/x") == Path("~/x")
    places = [folders.cache_folder(), folders.data_folder(), folders.hub_folder(), folders.torch_hub()]
    assert [str(place) for place in places] == [
        "/.cache/evalkit", "/.local/share/evalkit", "/.cache/huggingface/hub", "/.cache/torch/hub",
    ]  # fmt: skip
    assert folders.home_folder() == Path("/")


def test_names_that_are_not_utf8_can_be_shown() -> None:
    assert shown(os.fsdecode(b"stra\xdfe")) == "stra\\xdfe" and shown(Path("zażółć")) == "zażółć"
    assert shown("\ud800") == "\\ud800"

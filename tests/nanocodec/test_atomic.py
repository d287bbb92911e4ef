"""Files that are replaced as a whole."""

from pathlib import Path

import pytest

from nanocodec.atomic import replacing


def test_the_new_content_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "audio.wav"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".wav" and not temporary.exists()
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "half"])
def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "state.pt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="killed"), replacing(path) as temporary:
        if content:
            temporary.write_text(content)
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the outer block ends last"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_another_folder_keeps_its_place_and_its_file_is_replaced_there(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "file.txt"
    target.parent.mkdir()
    target.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    with replacing(link) as temporary:
        assert temporary.parent == target.parent
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"

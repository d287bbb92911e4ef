"""Progress where there is no terminal: a line now and then, and one at the end."""

import pytest

from evalkit.commands import progress
from evalkit.commands.progress import Progress


def test_lines_tell_how_far_and_how_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress("utterances") as bar:
        bar.start(4)
        bar.note("3 of 4 files were used.")
        for now in (1.0, 12.0, 13.0, 20.0):  # noqa: B007
            bar.advance("opus@6k")
    assert capsys.readouterr().err.splitlines() == [
        "3 of 4 files were used.",
        "2/4 utterances, 12 s, 12 s left (opus@6k)",
        "4/4 utterances, 20 s (opus@6k)",
    ]


def test_parts_of_one_add_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress("pairs") as bar:
        bar.start(1)
        for now in range(6, 42, 6):  # noqa: B007
            bar.advance("plcmos", 1 / 6)
    assert capsys.readouterr().err.splitlines() == [
        "0/1 pairs, 12 s, 24 s left (plcmos)",
        "0/1 pairs, 24 s, 12 s left (plcmos)",
        "1/1 pairs, 36 s (plcmos)",
    ]


def test_bytes_are_told_in_megabytes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress("MB", 1e6) as bar:
        bar.start(360_000_000)
        now = 12.0
        bar.advance("model.pth", 36_000_000)
    assert capsys.readouterr().err == "36/360 MB, 12 s, 108 s left (model.pth)\n"

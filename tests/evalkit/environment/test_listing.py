"""Listings of codecs, metrics and data: one line for each, also for what does not load."""

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from evalkit import plugins
from evalkit.cli import main
from evalkit.environment.listing import LISTINGS


def lines(what: str) -> dict[str, dict[str, Any]]:
    """The listing of `what`, by its first column."""
    columns, rows = LISTINGS[what]()
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


@pytest.fixture
def break_one(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Registers `broken`, of a kind, which cannot be imported."""

    def register(kind: str) -> None:
        broken = EntryPoint("broken", "nothing_of_this_name:X", plugins.GROUPS[kind])
        found = {**plugins._found(kind), "broken": broken}
        real = plugins._found
        monkeypatch.setattr(plugins, "_found", lambda asked: found if asked == kind else real(asked))

    return register


def test_codecs_say_what_they_are_and_what_they_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = lines("codecs")
    assert found["opus@6k"]["bit/s"] == 6000 and found["opus@6k"]["state"] == "ready"
    nano = found["nanocodec@1.78k"]
    assert (nano["sample_rate"], nano["frame_rate"], nano["codebook_sizes"]) == (22_050, 12.5, [2016] * 13)
    assert nano["state"] == "needs download" and "evalkit fetch nanocodec@1.78k" in nano["remedy"]
    assert nano["parameters"] == 62_141_025 and nano["weights_license"] and nano["causal"] is True
    rates = [name for name in found if name.startswith("nanocodec@")]
    assert rates == sorted(rates, key=lambda name: found[name]["bit/s"])


def test_metrics_say_their_range_and_their_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = lines("metrics")
    assert list(found) == plugins.names("metric")
    assert found["pesq-wb"]["better"] == "higher" and found["pesq-wb"]["range"] == "1 to 4.65"
    assert "default" in found["pesq-wb"]["sets"].split(", ") and found["pesq-wb"]["state"] == "ready"
    state = found["secs-ecapa2"]["state"]
    assert state.startswith("needs download: evalkit fetch secs-ecapa2 (about ") and "non-commercial" in state


def test_data_say_how_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    found = lines("datasets")
    assert found["builtin"]["state"] == "ready" and found["builtin"]["utterances"] == 29
    assert found["folder"]["usage"].startswith("folder:") and found["mls"]["utterances"] is None
    assert str(tmp_path) in found["mls"]["state"]


@pytest.mark.parametrize("what", [what for what in LISTINGS if what.removesuffix("s") in plugins.GROUPS])
def test_what_does_not_load_costs_its_own_line(what: str, break_one: Callable[[str], None]) -> None:
    before = set(lines(what))
    break_one(what.removesuffix("s"))
    found = lines(what)
    assert set(found) == before | {"broken"}
    assert "cannot be loaded" in " ".join(map(str, found["broken"].values()))


def test_the_doctor_names_what_does_not_load(
    break_one: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    break_one("codec")
    assert main(["doctor"]) == 0
    assert "nothing_of_this_name" in capsys.readouterr().out

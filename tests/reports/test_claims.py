"""Claims: every one is data, and each verdict follows from rows whose truth is known."""

from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.reports.claims import CONTRADICTED, SUPPORTED, UNDECIDED, UNMEASURED, Claim, build_claims, claims
from evalkit.reports.published import KINDS, names
from evalkit.results.run import read_run

from .test_report_commands import write_run


def verdicts(path: Path) -> dict[str, str]:
    """Claim in words -> verdict, over all tables."""
    return {line[0].text: line[1].text for table in build_claims([read_run(path)]) for line in table.rows}


def measured(path: Path) -> set[str]:
    """The verdicts, but for what is counted without any run."""
    return {found for said, found in verdicts(path).items() if said != str(claim("parameters"))}


def claim(name: str) -> Claim:
    (found,) = [c for c in claims() if c.id == name]
    return found


def test_claims_are_whole_and_name_what_there_is() -> None:
    assert len({c.id for c in claims()}) == len(claims()) == 34
    for c in claims():
        assert {c.first, c.second} <= names()["systems"].keys() and c.set in names()["sets"]
        assert c.metric in names()["metrics"] and str(c)
        assert all(kind in (*KINDS, "general claim") for kind in c.kind.split(" + ")), c
    assert str(claim("mid-cer-mls")) == "NanoCodec 1.1 kbps has a lower CER than Mimi 1.1 kbps on MLS"


def test_what_the_sources_state_agrees_with_their_claims() -> None:
    """The published numbers themselves must have the sign that each claim says."""
    for c in claims():
        if c.effect is not None and c.margin is None:
            up = names()["metrics"][c.metric]["direction"] == "up"
            assert (c.effect > 0) == up, (c, c.effect)
    assert claim("mid-pesq-mls").effect == pytest.approx(2.378 - 2.132)
    assert claim("high-cer-mls").effect == pytest.approx(2.42 - 2.53)
    assert claim("ultralow-mel-mls").effect == pytest.approx(0.205 - 0.320)
    assert claim("low-pesq-ts3-mls").effect is None


def test_verdicts_follow_the_rows(tmp_path: Path) -> None:
    found = verdicts(
        write_run(
            tmp_path / "run",
            {"nanocodec@1.1k": (2.4, 0.24), "mimi@1.1k": (2.1, 0.18), "nanocodec@0.8k": (2.0, 0.2),
             "wavtokenizer@0.9k": (2.001, 0.2)},
        )
    )  # fmt: skip
    assert found[str(claim("mid-pesq-mls"))] == SUPPORTED
    assert found[str(claim("mid-mel-mls"))] == CONTRADICTED
    assert found[str(claim("low-pesq-wavtokenizer-mls"))] == UNDECIDED
    assert found[str(claim("mid-cer-mls"))] == found[str(claim("low-pesq-ts3-mls"))] == UNMEASURED
    assert len(found) == len(claims()), "each claim is answered, measured or not"


@pytest.mark.parametrize(("difference", "outcome"), [(0.0, SUPPORTED), (0.5, CONTRADICTED), (0.1, UNDECIDED)])
def test_likeness_needs_a_margin(difference: float, outcome: str, tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", {"nanocodec@1.78k": (2.5, 0.2), "nanocodec@1.89k": (2.5 - difference, 0.2)}, "mls44"
    )
    assert verdicts(run)[str(claim("ablation-pesq"))] == outcome


def test_few_utterances_decide_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"nanocodec@1.1k": (4.0, 0.1), "mimi@1.1k": (1.0, 0.5)}, n=4)
    assert verdicts(run)[str(claim("mid-pesq-mls"))] == UNDECIDED


def test_the_built_in_model_answers_no_claim(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"nanocodec-mini@1.1k (built in)": (4.0, 0.1), "mimi@1.1k": (1.0, 0.5)})
    assert measured(run) == {UNMEASURED}


def test_other_data_measures_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"nanocodec@1.1k": (4.0, 0.1), "mimi@1.1k": (1.0, 0.5)}, "builtin")
    assert measured(run) == {UNMEASURED}


def test_parameters_are_counted_whatever_was_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"opus@6k": (4.0, 0.1)}, "builtin")
    (line,) = [row for table in build_claims([read_run(run)]) for row in table.rows if "parameter count" in row[0].text]
    assert [cell.text for cell in line[:3]] == [str(claim("parameters")), SUPPORTED, "-44.8"]
    # Numbers of the released checkpoints: tests/nanocodec/test_config.py.
    assert line[2].value == pytest.approx(100 * (62_141_025 / 112_664_609 - 1))
    assert "62.1 M against 112.7 M" in line[-1].text


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv"])
def test_the_command_prints_every_format(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", {"nanocodec@1.1k": (2.4, 0.18), "mimi@1.1k": (2.1, 0.24)})
    assert main(["claims", str(run), "--format", form]) == 0
    printed = capsys.readouterr().out
    assert "supported" in printed
    if form != "csv":
        assert "2 supported, 0 contradicted, 0 undecided, 25 not measured." in printed
        assert "holm over 2 claims" in " ".join(printed.lower().split())

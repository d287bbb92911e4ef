"""Claims and numbers of other papers: the file's schema, its errors by line, and verdicts that follow the rows."""

from pathlib import Path

import pytest

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.reports.claims import CONTRADICTED, SUPPORTED, UNMEASURED, build_claims, claims
from evalkit.reports.papers import load_paper, read_paper, shipped
from evalkit.results.run import read_run

from .test_report_commands import write_run

MINE = """\
paper: Ours
systems:
  ours: {label: Our codec, rows: [ours]}
  mimi: {label: Mimi, rows: [mimi@1.1k]}
sets:
  mine: {label: My test set, short: mine, n: 30, datasets: [my-set]}
metrics:
  pesq: {label: PESQ, direction: up, metric: pesq-wb}
  mel: {label: Mel, direction: down, metric: mel-2048-80-ln1p}
published:
  - kind: draft
    source: our table 2
    values:
      - {system: ours, set: mine, scores: {pesq: 2.4, mel: 0.2}}
      - {system: mimi, set: mine, scores: {pesq: 2.1}}
claims:
  - {id: pesq, set: mine, metric: pesq, better: ours, worse: mimi, kind: draft}
  - {set: mine, metric: mel, better: ours, worse: mimi}
  - {id: alike, set: mine, metric: mel, similar: [ours, mimi], margin: 0.1}
"""


def test_verdicts_follow_the_rows(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", {"ours": (2.5, 0.25), "mimi@1.1k": (2.0, 0.2)}, "my-set"))
    paper = read_paper(MINE, "mine.yaml")
    (table,) = build_claims([run], paper=paper)
    assert table.title == "Ours: Claims on my-set"
    found = {row[0].text: (row[1].text, row[6].text) for row in table.rows}
    assert found == {
        "Our codec has a higher PESQ than Mimi on mine": (SUPPORTED, "+0.3"),
        "Our codec has a lower Mel than Mimi on mine": (CONTRADICTED, "–"),
        "Our codec and Mimi differ in Mel by less than 0.1 on mine": (SUPPORTED, "–"),
    }
    (nothing,) = build_claims([run], paper=load_paper("bigcodec"))
    assert {row[1].text for row in nothing.rows} == {UNMEASURED} and nothing.title.startswith("BigCodec at 1.04 kbit/s")


@pytest.mark.parametrize("name", shipped())
def test_what_comes_along_claims_what_its_numbers_say(name: str) -> None:
    paper = load_paper(name)
    assert len(claims(paper)) > 5
    for claim in claims(paper):
        up = paper.names["metrics"][claim.metric]["direction"] == "up"
        assert claim.effect is not None and (claim.effect > 0) == up, claim


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("paper: Ours\n", "", "line 1: paper missing"),
        ("label: Our codec", "lable: Our codec", "line 3: unknown key 'lable'. Did you mean 'label'"),
        ("direction: down", "direction: low", "line 9: direction must be one of up, down, none"),
        ("pesq: 2.4", "pesq: good", "line 14: pesq must be a number"),
        ("pesq: 2.4", "pesq: .nan", "line 14: pesq must be a finite number"),
        ("{pesq: 2.1}", "{stoi: 0.9}", "line 15: 'stoi' is not among the metrics of the file: pesq, mel"),
        ("set: mine, scores: {pesq: 2.1", "set: yours, scores: {pesq: 2.1", "line 15: 'yours' is not among the sets"),
        (
            "better: ours, worse: mimi, kind",
            "better: hers, worse: mimi, kind",
            "line 17: 'hers' is not among the systems",
        ),
        ("worse: mimi, kind: draft", "kind: draft", "a claim has better and worse, or similar"),
        (", margin: 0.1", "", "line 19: a claim has better and worse, or similar"),
        ("margin: 0.1", "margin: -1", "line 19: margin must be above 0"),
        ("[ours, mimi]", "[ours]", "line 19: similar must have at least 2"),
        ("id: alike", "id: pesq", "the id pesq is given to two claims"),
        ("  ours: {label: Our codec, rows: [ours]}\n", "  - ours\n", "line 4: this is not valid YAML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_line(before: str, after: str, message: str) -> None:
    assert before in MINE
    with pytest.raises(UsageError, match=message):
        read_paper(MINE.replace(before, after, 1), "mine.yaml")


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(write_run(tmp_path / "run", {"ours": (2.5, 0.25), "mimi@1.1k": (2.0, 0.2)}, "my-set"))
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    assert main(["claims", run, "--claims", str(file), "--format", "markdown"]) == 0
    said = capsys.readouterr().out
    assert "Ours: Claims on my-set" in said and "2 supported, 1 contradicted" in said
    assert main(["table", run, "--against", str(file), "--format", "markdown"]) == 0
    said = capsys.readouterr().out
    assert "my-set beside Ours" in said and "draft: our table 2." in said and "| 2.4 |" in said
    assert main(["claims", run, "--claims", "bigcodec"]) == 0
    for wrong, message in (("nothing", "neither an included paper (bigcodec) nor a FILE.yaml"),
                           (str(tmp_path / "no.yaml"), "cannot be read")):  # fmt: skip
        assert main(["claims", run, "--claims", wrong]) == 2
        assert message in capsys.readouterr().err
        assert main(["table", run, "--against", wrong]) == 2
    capsys.readouterr()

"""The leaderboard: its numbers are the tables' numbers, it needs no server, and the hub takes its exports."""

import json
import re
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results

from evalkit.cli import main
from evalkit.codecs import CodecInfo
from evalkit.errors import UsageError
from evalkit.reports.hub import hub_results
from evalkit.reports.leaderboard import build_leaderboard
from evalkit.reports.table import build_tables
from evalkit.results.run import Run

from .browser import drive, in_a_browser
from .conftest import CODECS

DIGEST = "ab" * 32


@pytest.fixture
def run(run_with_audio: Run) -> Run:
    """Codecs with licenses, causality and weights; one was trained on PESQ."""
    about = {
        "opus@6k": CodecInfo(code_license="BSD-3-Clause", causal=True),
        "opus@12k": CodecInfo(code_license="BSD-3-Clause", causal=True, trained_on_metrics=("pesq-wb",)),
        "codec<2>@1.2k": CodecInfo(
            weights_license="CC-BY-NC-4.0", causal=False, parameters=83_500_000,
            details={"weights_sha256": {"model.safetensors": DIGEST}},
        ),
    }  # fmt: skip
    provenance = replace(
        run_with_audio.provenance, codecs=about, notes=("a <note>",), started="2026-11-27T13:36:55+00:00", evalkit="1.0"
    )
    return Run(run_with_audio.path, run_with_audio.rows, provenance)


def test_the_numbers_are_those_of_the_table(run: Run) -> None:
    board = build_leaderboard([run])
    content = json.loads(board.files["leaderboard.json"])
    (table,) = build_tables([run])
    means = {(m["system"], m["language"], m["metric"]): m for m in content["means"]}
    for row in table.rows:
        for column, cell in zip(table.columns, row, strict=True):
            if column.measured:
                found = means[row[0].text, "", column.key]
                assert found["mean"] == pytest.approx(cell.value, abs=1e-6) and found["n"] == 12
                assert [found["low"], found["high"]] == pytest.approx([cell.bounds.low, cell.bounds.high], abs=1e-6)
        assert means[row[0].text, "", "mel"]["kbps"] == pytest.approx(row[1].value)
    german = run.rows[(run.rows["language"] == "de") & (run.rows["codec"] == "opus@6k") & (run.rows["metric"] == "mel")]
    assert means["opus@6k", "de", "mel"]["mean"] == pytest.approx(german["value"].mean(), abs=1e-6)
    assert len(means) == 3 * 2 * 3, "codecs, metrics; all languages and two single ones"


def test_what_is_known_of_a_system(run: Run) -> None:
    content = json.loads(build_leaderboard([run]).files["leaderboard.json"])
    assert content["systems"]["codec<2>@1.2k"] == {
        "links": {"run": "runs/run/run.json"}, "evalkit": "1.0", "license": "CC-BY-NC-4.0", "causal": False,
        "parameters": 83_500_000, "sha256": {"model.safetensors": DIGEST},
    }  # fmt: skip
    assert content["trained"] == [["opus@12k", "pesq-wb"]] and content["notes"] == ["a <note>"]


def test_files_of_the_site(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.reports.page.all_plots", lambda runs, settings: iter(()))
    output = tmp_path / "site"
    assert main(["leaderboard", str(run.path), "--output", str(output), "--hub-dataset", "set=who/speech"]) == 0
    found = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert {"index.html", "leaderboard.json", "runs/run/run.json", "runs/run/report.html"} < found
    hub = {name for name in found if name.startswith("hub/run/")}
    assert len(hub) == 6 and "hub/run/opus@6k.eval_results.yaml" in hub
    page = (output / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "codec<2>" not in page
    with pytest.raises(SystemExit, match="2"):
        main(["leaderboard", str(run.path), "--output", str(output), "--hub-dataset", "set"])


def test_runs_that_do_not_compare_are_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="is in 2 of these runs"):
        build_leaderboard([run, run])


def test_runs_of_one_name_get_a_folder_each(run: Run, tmp_path: Path) -> None:
    other = Run(tmp_path / "elsewhere" / "run", run.rows.assign(dataset="other"), run.provenance)
    files = build_leaderboard([run, other]).files
    assert {"runs/run/run.json", "runs/run-2/run.json"} <= files.keys()


def test_the_hub_takes_both_forms(run: Run) -> None:
    """huggingface_hub's own parsers read them."""
    found = hub_results(run, "opus@6k", {"set": "who/speech"}, "https://example.org/board")
    entries = huggingface_hub.parse_eval_result_entries(found["eval_results"])
    mean = run.rows[(run.rows["codec"] == "opus@6k") & (run.rows["metric"] == "pesq-wb")]["value"].mean()
    pesq = next(entry for entry in entries if entry.task_id == "pesq-wb")
    assert (pesq.dataset_id, pesq.value) == ("who/speech", pytest.approx(mean, abs=1e-5))
    assert pesq.source_url == "https://example.org/board" and "mean of 12 utterances, 0 failed" in str(pesq.notes)
    name, results = model_index_to_eval_results(found["model-index"])
    assert name == "opus@6k" and {result.metric_type for result in results} == {"pesq-wb", "mel"}
    assert all(result.task_type == "audio-to-audio" and result.dataset_type == "who/speech" for result in results)
    assert {result.metric_value for result in results} == {entry.value for entry in entries}


def test_data_that_are_not_on_the_hub_are_not_said_to_be(run: Run) -> None:
    assert hub_results(run, "opus@6k")["eval_results"] == []
    board = build_leaderboard([run])
    assert not any(name.endswith("eval_results.yaml") for name in board.files)
    assert "--hub-dataset set=OWNER/NAME" in board.notes[0]
    index = yaml.safe_load(board.files["hub/run/opus@6k.model-index.yaml"])
    assert index["model-index"][0]["results"][0]["dataset"] == {"type": "set", "name": "set"}


@pytest.mark.slow
@in_a_browser
def test_in_a_browser_it_filters_sorts_and_draws(run: Run, tmp_path: Path) -> None:
    script = """
    const names = () => [...document.querySelectorAll("#board tbody tr")].map((row) => row.cells[0].textContent);
    const choose = (name, value) => {
      const input = document.querySelector(`[name=${name}]`);
      input.value = value;
      input.dispatchEvent(new Event("input"));
    };
    const heads = () => [...document.querySelectorAll("#board th")];
    const column = (label) => heads().findIndex((head) => head.textContent.startsWith(label));
    const cell = (name, label) => [...document.querySelectorAll("#board tbody tr")]
      .find((row) => row.cells[0].textContent === name).cells[column(label)];
    said.byRate = names();
    document.querySelectorAll("#board th button")[column("PESQ")].click();
    said.byScore = names();
    said.best = [...document.querySelectorAll("#board .best")].map((span) => span.textContent);
    said.marked = cell("opus@12k", "PESQ").textContent;
    said.points = document.querySelectorAll("#scatter circle").length;
    said.figure = document.querySelector("#scatter svg").getAttribute("aria-label");
    said.links = [...document.querySelectorAll(".links a")].map((link) => link.getAttribute("href"));
    said.hash = document.querySelector(".hash").title;
    choose("low", "5");
    said.high = names();
    choose("low", "");
    choose("causal", "no");
    said.noncausal = names();
    choose("causal", "");
    choose("license", "BSD-3-Clause");
    said.free = names();
    choose("license", "");
    choose("language", "de");
    said.german = cell("opus@6k", "n").textContent;
    choose("text", "nothing");
    said.none = names();
    """
    page = build_leaderboard([run], "A <board>", report=lambda run: "<p>report").files["index.html"]
    found = drive(page, script, tmp_path)
    low, six, twelve = "codec<2>@1.2k", "opus@6k", "opus@12k"
    assert found["byRate"] == [low, six, twelve] and found["byScore"] == [twelve, six, low]
    assert "2.550" in found["best"] and found["marked"].startswith("3.550 †"), (
        "what was trained on PESQ is not its best"
    )
    assert found["points"] == len(CODECS) and "opus@6k 2.550 at" in found["figure"]
    assert found["links"].count("runs/run/report.html") == 3 and DIGEST in found["hash"]
    assert found["high"] == [twelve, six] and found["noncausal"] == [low] and found["free"] == [twelve, six]
    assert found["german"] == "6" and found["none"] == []

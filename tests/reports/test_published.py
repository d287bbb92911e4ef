"""The paper's numbers: whole, labelled, and never mixed with what was measured."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

import evalkit.reports
from evalkit.audio import Audio
from evalkit.cli import main
from evalkit.datasets import Dataset, Selection, Utterance, load_dataset
from evalkit.errors import UsageError
from evalkit.pipeline.suites import load_suite, suites
from evalkit.reports.against import build_against_paper
from evalkit.reports.published import KINDS, names, paper_names, place_of, places_of, published, system_of
from evalkit.reports.render import FORMATS
from evalkit.results.run import Run, read_run

from .changed import changed
from .test_report_commands import write_run

FOLDER = Path(evalkit.reports.__file__).parent / "published"


def test_every_number_has_a_source_and_a_known_kind() -> None:
    numbers = published()
    counts = {kind: sum(number.kind == kind for number in numbers) for kind in KINDS}
    assert counts == {"seed": 30, "model card": 20, "demo page": 10, "second-hand": 30, "re-measured": 27}
    assert all(number.source for number in numbers)
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {
        "names", "seed", "model-cards", "demo-page", "second-hand", "re-measured", "field"
    }  # fmt: skip


def test_the_numbers_that_the_comparisons_rest_on() -> None:
    seed = {(n.system, n.set, n.metric): n.value for n in published() if n.kind == "seed"}
    assert seed["nanocodec-1.1", "mls", "pesq"] == 2.378 and seed["mimi-1.1", "mls", "pesq"] == 2.132
    assert seed["nanocodec-1.1", "mls", "cer"] == 3.617 and seed["mimi-1.1", "mls", "secs"] == 0.678
    assert seed["lfsc-1.89", "daps", "cer"] == 0.655 and seed["taae-0.7", "daps", "secs"] == 0.372
    assert ("nanocodec-1.1", "mls", "mel") not in seed, "no source states it"
    assert not [n for n in published() if n.value == 0.876], "a wrong number is not carried along"


def test_a_wrong_name_in_a_source_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.reports import published as module

    shutil.copytree(FOLDER, tmp_path / "published")
    monkeypatch.setattr(module, "_folder", lambda: tmp_path / "published")
    path = tmp_path / "published" / "seed.yaml"
    path.write_text(path.read_text().replace("sqmos: 4.441", "sqmso: 4.441"))
    with pytest.raises(ValueError, match="sqmso"):
        list(module._numbers("seed.yaml"))


def test_names_of_rows_are_no_guesses() -> None:
    assert system_of("nanocodec@1.78k") == "nanocodec-1.78"
    assert system_of("nanocodec-mini@1.1k (built in)") is None, "the built-in model is not the paper's"
    place = place_of("authors-demo")
    assert place is not None and place.set == "mls" and place.n == 1600 and "45" in str(place.caution)
    assert place_of("builtin") is None
    mapped = [row for about in names()["systems"].values() for row in about["rows"]]
    assert len(mapped) == len(set(mapped))


# --- measured beside published -----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    means = {"nanocodec@1.1k": (2.37, 0.18), "mimi@1.1k": (1.9, 0.24), "nanocodec-mini@1.1k (built in)": (2.0, 0.2)}
    return read_run(write_run(tmp_path / "run", means))


def test_measured_and_published_stand_side_by_side(run: Run) -> None:
    (table,) = build_against_paper([run])
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](table))))
    assert [(line["codec"], line["metric"], line["kind"]) for line in lines] == [
        ("nanocodec@1.1k", "PESQ-WB", "seed"),
        ("mimi@1.1k", "Mel", "second-hand"),
        ("mimi@1.1k", "PESQ-WB", "seed"),
        ("mimi@1.1k", "PESQ-WB", "second-hand"),
    ], "no line where no source states a number, none for the built-in model, none re-measured"
    mean = run.rows[(run.rows["codec"] == "mimi@1.1k") & (run.rows["metric"] == "pesq-wb")]["value"].mean()
    assert float(lines[2]["measured"]) == pytest.approx(mean) and float(lines[2]["published"]) == 2.132
    assert float(lines[2]["deviation"]) == pytest.approx(mean - 2.132)
    assert float(lines[2]["percent"]) == pytest.approx(100 * (mean - 2.132) / 2.132)
    assert [line["inside"] for line in lines] == ["yes", "yes", "no", "no"]
    text = FORMATS["markdown"](table)
    assert "45 MLS test utterances" in text and "(n = 1600); 2 of 4 lie inside" in text
    assert "seed: digest of arXiv 2508.05835" in text and "model card:" not in text


def test_data_that_the_paper_does_not_report_is_not_compared(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", {"mimi@1.1k": (2.1, 0.24)}, dataset="builtin"))
    with pytest.raises(UsageError, match="reports nothing for the data of these runs"):
        build_against_paper([run])
    other = read_run(write_run(tmp_path / "other", {"opus@6k": (2.1, 0.24)}))
    with pytest.raises(UsageError, match="no source has a value"):
        build_against_paper([other])


def test_part_of_a_set_says_so(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", {"mimi@1.1k": (2.1, 0.24)}, dataset="mls44"))
    assert "Measured on 30 of the 1600 utterances" in FORMATS["markdown"](build_against_paper([run])[0])


# --- suites ------------------------------------------------------------------------------------------------------


def test_suites_are_the_papers_comparisons() -> None:
    papers = ["paper-ablation", "paper-high", "paper-low", "paper-mid", "paper-streaming", "paper-ultralow"]
    assert [name for name in suites() if name.startswith("paper-")] == papers
    known = {row for about in names()["systems"].values() for row in about["rows"]}
    metrics = {about["metric"] for about in names()["metrics"].values()}
    for suite in (load_suite(name) for name in papers if name != "paper-streaming"):
        assert set(suite.codecs) <= known and set(suite.metrics) <= metrics
        assert all(place_of(dataset) for dataset in suite.datasets)
    with pytest.raises(UsageError, match="Did you mean 'paper-high'"):
        load_suite("paper-hihg")


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "terminal"])
def test_a_suite_renders_in_every_format(form: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(run.path), "--suite", "paper-mid", "--format", form]) == 0
    printed = capsys.readouterr().out
    assert "NanoCodec 1.1 kbps" in printed and "mimi@1.1k" in printed
    if form != "csv":
        assert "Not measured: sqmos, secs-ecapa2, cer-mms" in printed


def test_a_suite_with_nothing_measured_is_an_error(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(run.path), "--suite", "paper-ultralow"]) == 2
    assert "no run has a codec of paper-ultralow: nanocodec@0.6k, taae@0.7k" in capsys.readouterr().err
    assert main(["table", str(run.path), "--suite", "paper-mid", "--against", "paper"]) == 2


def test_a_suite_that_cannot_run_names_all_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import evalkit.pipeline.suites as module

    folder = tmp_path / "configs" / "suites"
    folder.mkdir(parents=True)
    about = {"title": "T", "codecs": ["pcm", "no-such@1k"], "datasets": ["nowhere"], "metrics": ["si-sdr", "no-metric"]}
    (folder / "s.yaml").write_text(yaml.safe_dump(about))
    for name in ("metrics.yaml", "suite.schema.json"):
        (tmp_path / "configs" / name).write_text((Path(__file__).parents[2] / "configs" / name).read_text())
    monkeypatch.setattr(module, "files", lambda package: tmp_path / "configs")
    assert main(["run", "--suite", "s", "--output", str(tmp_path / "run")]) == 3
    error = capsys.readouterr().err
    for missing in ("metric no-metric", "dataset nowhere", "codec no-such@1k"):
        assert missing in error
    assert "pcm" not in error and "si-sdr" not in error and not (tmp_path / "run").exists()


def test_a_suite_runs_each_of_its_datasets_or_the_one_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import evalkit.pipeline.suites as module

    suite = module.Suite("s", "T", ("pcm", "codec2@1.2k"), ("builtin",), ("si-sdr",))
    monkeypatch.setattr(module, "load_suite", lambda name: suite)
    assert main(["run", "--suite", "s", "--limit", "2", "--no-cache", "--output", str(tmp_path / "run")]) == 0
    run = read_run(tmp_path / "run" / "builtin")
    assert set(run.rows["codec"]) == {"pcm@float32", "codec2@1.2k"} and set(run.rows["metric"]) == {"si-sdr"}
    one = load_dataset("builtin").utterances[0].audio()
    (tmp_path / "own").mkdir()
    soundfile.write(tmp_path / "own" / "one.wav", one.wav, one.sample_rate)
    given = ["--dataset", f"folder:{tmp_path / 'own'},language=de", "--no-cache", "--output", str(tmp_path / "given")]
    assert main(["run", "--suite", "s", *given]) == 0
    rows = read_run(tmp_path / "given" / "folder").rows
    assert rows["utterance"].unique().tolist() == ["one"] and set(rows["language"]) == {"de"}


def test_the_ids_of_the_demo_page_are_those_that_were_scored(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with (root / "reports/examples/authors-demo/rows.csv").open() as file:
        scored = {row["utterance"] for row in csv.DictReader(file)}
    utterances = tuple(Utterance(name, Audio(np.zeros(9, np.float32), 44_100)) for name in (*scored, "another"))
    chosen = Selection(ids=root / "configs/ids/mls44-demo-page.txt").of(Dataset("mls44", utterances, "", ""))
    assert {one.id for one in chosen} == scored and len(chosen) == 45


def test_a_system_is_the_papers_by_its_bytes_or_by_declaration(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", {"x": (1.0, 1.0)}, "mls44"))
    for name, about, expected in (
        ("mimi@1.1k", {"spec": "mimi@1.1k", "released": True}, "mimi@1.1k"),
        ("mine", {"spec": "mimi@1.1k", "released": True}, "mimi@1.1k"),
        ("mimi@1.1k", {"spec": "mimi@1.1k", "released": False}, "mimi@1.1k (other weights)"),
        ("mimi@1.1k (folder)", {"spec": "mimi@1.1k", "released": False}, "mimi@1.1k (folder)"),
        ("ts3@0.85k (rendered)", {"spec": "ts3@0.85k", "rendered": "somewhere"}, "ts3@0.85k"),
        ("a", {"spec": "opus@6k", "released": True}, "a"),
        ("nanocodec-mini@1.1k", {"spec": "nanocodec@1.1k", "released": False}, "nanocodec-mini@1.1k"),
        ("mimi@1.1k", {}, "mimi@1.1k"),
    ):  # fmt: skip
        assert paper_names([changed(run, {name: about})]) == {name: expected}


def test_files_under_the_name_of_a_set_are_not_the_set(tmp_path: Path) -> None:
    run = changed(read_run(write_run(tmp_path / "run", {"x": (1.0, 1.0)}, "daps")), {"x": {"rendered": "daps.csv"}})
    place = places_of([run])["daps"]
    assert place is not None and "which part of the dataset they are is not known" in str(place.caution)

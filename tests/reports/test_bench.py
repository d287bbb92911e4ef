"""Benches as tables, beside quality, as plots, in claims and behind a gate, from rows whose truth is known."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from evalkit.bench.directory import MACHINE, WHOLE, BenchWriter, Measurement, read_bench, setting
from evalkit.cli import main
from evalkit.errors import GateError, UsageError
from evalkit.reports.bench import build_bench_tables
from evalkit.reports.bench_beside import bench_plots, beside, read_all
from evalkit.reports.bench_reader import Reader
from evalkit.reports.cells import Table
from evalkit.reports.claims import CONTRADICTED, SUPPORTED, build_claims
from evalkit.reports.table import build_tables
from evalkit.results.run import read_run

from .test_report_commands import write_run

LFSC, NANO = "lfsc@1.89k", "nanocodec@1.78k"
COSTS = {LFSC: (112.66e6, 30.4, 38.17, 1024, 12_697), NANO: (62.14e6, 13.98, 17.15, 1764, 0)}
"""Parameters, GMAC/s each way, frame and lookahead of the decoder in samples."""


def write_bench(path: Path, rtf: dict[str, float], rounds: int = 9, rows: Iterable[Measurement] = (), **about) -> Path:
    """A bench of codecs with these real-time factors for decoding, in rounds of which some are slow for all."""
    rng = np.random.default_rng(len(path.name))
    provenance = {
        "device": "cpu", "threads": 2, "seconds": 10.0, "rounds": rounds, "processor": "Test", "torch": {},
        "git": "0" * 40, "started": "now", "evalkit": "0",
        "codecs": {
            codec: {"sample_rate": 22050, "causal": codec != LFSC, "weights": "random"} for codec in rtf
        },
    }  # fmt: skip
    with BenchWriter(path, provenance | about) as writer:
        for codec in rtf:
            parameters, encode, decode, frame, lookahead = COSTS.get(codec, COSTS[NANO])

            def row(stage, quantity, value, kind="measured", codec=codec, **more):
                return Measurement(codec, stage, quantity, value, kind, weights="random", **more)

            writer.add([
                row("both", "parameters", parameters, "counted"), row("encode", "gmac", encode, "counted"),
                row("decode", "gmac", decode, "counted"), row("both", "frame", frame),
                row("decode", "lookahead", lookahead, setting=setting(level="0")),
                row("decode", "lookahead", None, reason="it exposes no latents", setting=setting(level="1%")),
                row("both", "latency", (frame + lookahead) / 22.05, setting=setting(level="0")),
                row("encode", "first-packet", None, reason="it does not stream here"),
            ])  # fmt: skip
        for number in range(1, rounds + 1):
            slow = 8.0 if number % 3 == 0 else 1.0
            writer.add([Measurement(MACHINE, "both", "calibration", 0.01 * slow, "measured", round=number)])
            for codec, value in rtf.items():
                noisy = value * slow * np.exp(0.01 * rng.standard_normal())
                writer.add([Measurement(codec, "decode", "rtf", noisy, "measured", weights="random", round=number)])
        writer.add(rows)
    return path


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return write_bench(tmp_path / "speed", {LFSC: 0.4, NANO: 0.2})


def column(table: Table, key: str) -> dict[str, str]:
    position = [one.key for one in table.columns].index(key)
    return {row[0].text: row[position].text for row in table.rows}


def test_tables_show_what_was_measured_and_leave_out_what_was_not(bench: Path) -> None:
    cost, time, latency = build_bench_tables([read_bench(bench)])
    assert column(cost, "parameters") == {LFSC: "112.7", NANO: "62.1"}
    assert column(cost, "gmac-decode") == {LFSC: "38.17", NANO: "17.15"} and column(cost, "weights")[NANO] == "random"
    assert "rtf-encode" not in [one.key for one in time.columns], "nobody was timed encoding"
    assert float(column(time, "x-real-time-decode")[NANO]) == pytest.approx(5.0, abs=0.2)
    assert column(latency, "lookahead-decode") == {LFSC: "12697", NANO: "0"}
    assert column(latency, "causal") == {LFSC: "no", NANO: "yes"}


def test_ratios_are_paired_by_round_and_slow_rounds_do_not_move_them(bench: Path) -> None:
    found = Reader(read_bench(bench)).ratio(NANO, LFSC, "decode", "rtf")
    assert found.value == pytest.approx(0.5, rel=0.02)
    assert found.interval.low > 0.47 and found.interval.high < 0.53 and 0.5 in found.interval
    assert Reader(read_bench(bench)).ratio(LFSC, LFSC, "decode", "rtf").value is None


def test_a_causal_claim_that_was_not_measured_is_pointed_out(tmp_path: Path) -> None:
    path = write_bench(tmp_path / "wrong", {NANO: 0.2}, codecs={NANO: {"sample_rate": 22050, "causal": False}})
    table = build_bench_tables([read_bench(path)])[-1]
    assert column(table, "causal") == {NANO: "yes, but declared no"}


def test_the_whole_utterance_is_a_word_and_no_number(tmp_path: Path) -> None:
    row = Measurement("w", "decode", "lookahead", None, "measured", WHOLE, setting(level="0"))
    path = write_bench(
        tmp_path / "whole", {NANO: 0.2}, rows=[row, Measurement("w", "both", "frame", 320.0, "measured")]
    )
    table = build_bench_tables([read_bench(path)])[-1]
    assert column(table, "lookahead-decode")["w"] == "whole"


def test_cost_stands_beside_quality(bench: Path, tmp_path: Path) -> None:
    run = read_run(
        write_run(
            tmp_path / "run",
            {f"{LFSC} (rendered)": (3.0, 0.2), NANO: (2.9, 0.2), "other": (2.0, 0.2), f"{NANO} (x.nemo)": (2.9, 0.2)},
        )
    )
    (table,) = beside(build_tables([run]), [read_bench(bench)])
    found = {f"{LFSC} (rendered)": "112.7", NANO: "62.1", "other": "–", f"{NANO} (x.nemo)": "–"}
    assert column(table, "parameters") == found, "weights from a file may be of another size"
    assert column(table, "gmac")[NANO] == "31.1" and column(table, "latency")[NANO] == "80.0"
    assert float(column(table, "rtf-decode")[NANO]) == pytest.approx(0.2, rel=0.03)
    assert any("random weights" in note for note in table.notes)
    assert beside(build_tables([run]), []) == build_tables([run])
    names = [name for name, _ in bench_plots([run], [read_bench(bench)])]
    assert "authors-demo-pesq-wb-latency" in names and "authors-demo-pesq-wb-compute" in names


def test_commands_take_runs_and_benches(bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", {LFSC: (3.0, 0.2), NANO: (2.9, 0.2)})
    assert main(["table", str(bench), "--format", "markdown"]) == 0
    assert "GMAC/s dec" in capsys.readouterr().out
    assert main(["table", str(run), str(bench), "--format", "csv"]) == 0
    assert "rtf-decode" in capsys.readouterr().out.splitlines()[0]
    assert main(["plot", str(run), str(bench), "--output", str(tmp_path / "plots")]) == 0
    assert (tmp_path / "plots" / "authors-demo-pesq-wb-compute.svg").is_file()
    assert main(["report", str(run), str(bench), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Algorithmic latency" in page and "over encoder and decoder compute" in page
    assert main(["report", str(bench), "--output", str(tmp_path / "x.html")]) == 2
    assert main(["table", str(bench), "--by", "language"]) == 2
    assert read_all([run, bench])[1][0].path == bench


def lm_rows(ratio: float, kind: str = "analytic") -> list[Measurement]:
    """RTF and time to first audio of Koel-TTS's LM, `ratio` times better with NanoCodec."""
    where = {"lm": "koel", "cache": "upstream", "heads": "parallel", "hardware": "a100-fp32"}
    first = setting(**where, first=4, lookahead="1%")
    return [
        Measurement(codec, "both", quantity, value, kind, setting=place, round=None)  # type: ignore[arg-type]
        for codec, value in ((LFSC, ratio), (NANO, 1.0))
        for quantity, place in (("rtf", setting(**where, mode="offline")), ("ttfa", first))
    ]


def verdicts(path: Path) -> dict[str, str]:
    return {line[0].text: line[1].text for table in build_claims([], benches=[read_bench(path)]) for line in table.rows}


def test_claims_about_efficiency_are_answered_from_benches(tmp_path: Path) -> None:
    path = write_bench(tmp_path / "lm", {LFSC: 0.4, NANO: 0.2}, rows=lm_rows(2.4))
    found = verdicts(path)
    assert found["NanoCodec 1.78 kbps has a lower parameter count than LFSC 1.89 kbps"] == SUPPORTED
    assert found["NanoCodec 1.78 kbps has a lower decoder lookahead than LFSC 1.89 kbps"] == SUPPORTED
    rtf = found["Koel-TTS with NanoCodec 1.78 kbps has a lower RTF than Koel-TTS with LFSC"]
    assert rtf == "reproduced under cache=upstream, analytic a100-fp32"
    ttfa = found["Koel-TTS with NanoCodec 1.78 kbps has a lower time to first audio than Koel-TTS with LFSC"]
    assert ttfa == "reproduced under cache=upstream, analytic a100-fp32, first=4, lookahead=1%"
    (table, *_) = build_claims([], benches=[read_bench(path)])
    assert [row[2].text for row in table.rows] == ["-44.8", "-12.40", "2.40", "2.40"]


def test_a_ratio_that_does_not_come_out_is_not_reproduced_and_never_supported(tmp_path: Path) -> None:
    found = verdicts(write_bench(tmp_path / "lm", {LFSC: 0.4, NANO: 0.2}, rows=lm_rows(1.5)))
    assert found["Koel-TTS with NanoCodec 1.78 kbps has a lower RTF than Koel-TTS with LFSC"] == "not reproduced"


def test_more_parameters_contradict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COSTS, NANO, (200e6, 1.0, 1.0, 1764, 0))
    found = verdicts(write_bench(tmp_path / "big", {LFSC: 0.4, NANO: 0.2}))
    assert found["NanoCodec 1.78 kbps has a lower parameter count than LFSC 1.89 kbps"] == CONTRADICTED


def gate(path: Path, baseline: Path, *more: str) -> int:
    return main(["gate", str(path), "--baseline", str(baseline), *more])


@pytest.mark.parametrize(("speed", "code"), [(0.2, 0), (0.21, 0), (0.26, 1), (0.1, 0)])
def test_speed_is_held_as_a_ratio(
    speed: float, code: int, bench: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline = tmp_path / "speed.json"
    assert gate(bench, baseline, "--update", "--reference", LFSC) == 0
    assert json.loads(baseline.read_text())["ratios"] == {f"{NANO} decode": pytest.approx(0.5, rel=0.02)}
    # A machine half as fast slows both down, and nothing else.
    again = write_bench(tmp_path / "again", {LFSC: 0.8, NANO: 2 * speed}, processor="Another")
    capsys.readouterr()
    assert gate(again, baseline, "--junit", str(tmp_path / "gate.xml")) == code
    said = capsys.readouterr().out
    assert f"RTF dec / {LFSC}" in said and "ratios may depend on the machine" in said
    assert ("FAILED" in said) == (code == 1) and (tmp_path / "gate.xml").is_file()


def test_a_gate_that_cannot_be_decided_is_not_passed(bench: Path, tmp_path: Path) -> None:
    baseline = tmp_path / "speed.json"
    assert gate(bench, baseline, "--update") == 2, "it takes a reference"
    assert gate(bench, baseline, "--reference", LFSC) == 2, "which the baseline has already"
    assert gate(bench, baseline, "--codec", LFSC) == 2, "that is for runs"
    assert gate(bench, baseline, "--update", "--reference", "opus@6k") == 2
    assert gate(bench, baseline) == 2, "there is no baseline yet"
    gate(bench, baseline, "--update", "--reference", LFSC)
    assert gate(write_bench(tmp_path / "few", {LFSC: 0.4, NANO: 0.2}, rounds=5), baseline) == 4
    assert gate(write_bench(tmp_path / "none", {LFSC: 0.4}), baseline) == 4
    assert gate(write_bench(tmp_path / "threads", {LFSC: 0.4, NANO: 0.2}, threads=1), baseline) == 2
    baseline.write_text('{"format": 1}')
    assert gate(bench, baseline) == 2


def test_errors_name_what_is_missing(bench: Path) -> None:
    from evalkit.reports import bench_gate
    from evalkit.reports.gate_rules import read_rules

    with pytest.raises(UsageError, match=r"It has: lfsc@1\.89k, nanocodec@1\.78k"):
        bench_gate.write_baseline(read_bench(bench), "mimi@1.1k", bench / "x.json")
    assert issubclass(GateError, Exception) and "rtf" in read_rules().margins

"""The gate: passes what is as good, fails what is surely worse, and never passes what was not measured."""

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from evalkit.cli import main
from evalkit.errors import GateError, UsageError
from evalkit.metrics.load import load_metric
from evalkit.reports import gate_text as report
from evalkit.reports.gate import Verdict, check
from evalkit.reports.gate_baseline import read_baseline, write_baseline
from evalkit.reports.gate_rules import Margin, Rules, read_rules
from evalkit.results.rows import CORPUS, Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter

METRICS = {
    "pesq-wb": {"label": "PESQ-WB", "direction": "up", "version": "1", "decimals": 3},
    "mel-2048-80-ln1p": {"label": "Mel", "direction": "down", "version": "1", "decimals": 3},
    "bitrate": {"label": "bit/s", "direction": "none", "version": "1", "decimals": 1},
    "si-sdr": {"label": "SI-SDR", "direction": "up", "version": "1", "decimals": 2},
}
N = 30
LEVEL = np.random.default_rng(0).standard_normal(N)
JITTER = np.random.default_rng(1).standard_normal(N)


def make_run(
    path: Path,
    pesq: float = 0.0,
    mel: float = 0.0,
    bitrate: float = 1097.7,
    jitter: float = 0.0,
    n: int = N,
    codec: str = "c",
    failed: int = 0,
    **about: Any,
) -> Run:
    """A run whose PESQ and Mel are off a fixed level by `pesq` and `mel`, and by noise of size `jitter`."""
    given = {"metrics": METRICS, "dataset": {"name": "set", "revision": "r1"}, "git": "abc", "started": "t"} | about
    with RunWriter(path, [codec], given) as writer:
        for i in range(n):
            u, value = f"u{i:02}", 2.5 + 0.3 * LEVEL[i] + pesq + jitter * JITTER[i]
            writer.add(
                [
                    Row(codec, "set", u, "pesq-wb", *((None, "silent") if i < failed else (value,))),
                    Row(codec, "set", u, "mel-2048-80-ln1p", 0.2 + 0.01 * LEVEL[i] + mel, speaker=f"s{i % 8}"),
                    Row(codec, "set", u, "si-sdr", -pesq),
                ]
            )  # fmt: skip
        writer.add([Row(codec, "set", CORPUS, "bitrate", bitrate)])
    return read_run(path)


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    write_baseline(make_run(tmp_path / "good"), tmp_path / "baseline.json")
    return tmp_path / "baseline.json"


def judge(run: Run, baseline: Path, rules: Rules | None = None, codec: str | None = None) -> Verdict:
    return check(run, read_baseline(baseline), rules or read_rules(), codec)


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {gate.metric: gate.outcome for gate in verdict.gates}


def test_the_same_rows_pass(baseline: Path, tmp_path: Path) -> None:
    verdict = judge(read_run(tmp_path / "good"), baseline)
    assert verdict.passed
    assert outcomes(verdict) == {
        "mel-2048-80-ln1p": "passed", "pesq-wb": "passed", "bitrate": "passed", "si-sdr": "not gated"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"pesq": -0.1}, ["pesq-wb"]),
        ({"pesq": -0.1, "jitter": 0.1}, ["pesq-wb"]),
        ({"mel": 0.02}, ["mel-2048-80-ln1p"]),
        ({"bitrate": 1120.0}, ["bitrate"]),
        ({"bitrate": 1000.0}, ["bitrate"]),
        ({"pesq": -0.1, "mel": 0.02}, ["mel-2048-80-ln1p", "pesq-wb"]),
        ({"pesq": 0.5, "mel": -0.1}, []),  # better
        ({"pesq": -0.02}, []),  # worse, surely, and within the margin
        ({"pesq": -0.06, "jitter": 0.5}, []),  # worse beyond the margin, and perhaps by chance
        ({"bitrate": 1100.0}, []),
    ],
)
def test_only_what_is_surely_worse_beyond_the_margin_fails(
    change: dict[str, float], failed: list[str], baseline: Path, tmp_path: Path
) -> None:
    verdict = judge(make_run(tmp_path / "run", **change), baseline)  # type: ignore[arg-type]
    assert [gate.metric for gate in verdict.failed] == failed
    assert verdict.passed == (not failed)


def test_a_gate_at_its_margin_rarely_fails(baseline: Path, tmp_path: Path) -> None:
    """The chance of a false alarm where the loss is the margin itself: 5 % by design, over many noises."""
    from evalkit.stats import exceeds

    noise = np.random.default_rng(5).standard_normal((400, N))
    alarms = [exceeds(0.03 + 0.1 * row, 0.03, resamples=500)[0] < 0.05 for row in noise]
    assert 0.02 < np.mean(alarms) < 0.09


def test_it_says_by_how_much_and_on_which_utterances(baseline: Path, tmp_path: Path) -> None:
    (gate,) = judge(make_run(tmp_path / "run", pesq=-0.2, jitter=0.1), baseline).failed
    assert gate.worse == pytest.approx(0.2 - 0.1 * JITTER.mean()) and gate.margin == 0.03 < gate.at_least < gate.worse
    assert gate.worst[0][0] == f"u{int(np.argmin(JITTER)):02}" and len(gate.worst) == 5
    losses = [before - now for _, before, now in gate.worst]
    assert losses == sorted(losses, reverse=True)
    assert "worse on 30 utterances (margin 0.030, p " in gate.message


def test_speakers_can_be_drawn_together(baseline: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", mel=0.02)
    rules = Rules(read_rules().margins, cluster="speaker")
    with pytest.raises(UsageError, match="do not name a 'speaker' for each utterance"):
        judge(run, baseline, rules)
    only_mel = Rules({"mel-2048-80-ln1p": read_rules().margins["mel-2048-80-ln1p"]}, cluster="speaker")
    assert not judge(run, baseline, only_mel).passed


# --- what was not measured is not passed -------------------------------------------------------------------------


def test_a_missing_codec_is_not_a_pass(baseline: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", codec="other")
    with pytest.raises(GateError, match="c: bitrate is in the baseline but was not measured") as error:
        judge(run, baseline)
    assert error.value.exit_code == 4
    verdict = judge(run, baseline, codec="other")
    assert verdict.passed and "other is compared with the baseline's c." in verdict.notes
    with pytest.raises(UsageError, match=r"the run has no codec c\. It has: other"):
        judge(run, baseline, codec="c")


def test_lost_utterances_are_not_a_pass(baseline: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", failed=2)
    with pytest.raises(GateError, match=r"2 of 30 utterances .* u00 \(silent\), u01 \(silent\)"):
        judge(run, baseline)
    assert judge(run, baseline, Rules(read_rules().margins, max_failed=2)).passed
    with pytest.raises(GateError, match=r"u20 \(not in the run\)"):
        judge(make_run(tmp_path / "part", n=20), baseline)


def test_too_few_utterances_are_not_a_pass(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n=4)
    write_baseline(run, tmp_path / "b.json")
    with pytest.raises(GateError, match="4 utterances are too few to test"):
        judge(run, tmp_path / "b.json")


def many_gates(path: Path, gates: int, n: int, loss: float, metric: int = 0) -> Run:
    """A run with so many metrics over n utterances; the one numbered `metric` is worse by `loss`."""
    about = {"label": "M", "direction": "up", "version": "1", "decimals": 3}
    given = {"metrics": {f"m{i:03}": about for i in range(gates)}, "dataset": {"name": "set", "revision": "r1"}}
    rng = np.random.default_rng(0)
    with RunWriter(path, ["c"], given | {"git": "abc", "started": "t"}) as writer:
        for i in range(gates):
            level, noise = rng.standard_normal((2, n))
            values = level + (0.2 * noise - loss if loss and i == metric else 0.0)
            writer.add(Row("c", "set", f"u{u:02}", f"m{i:03}", float(v)) for u, v in enumerate(values))
    return read_run(path)


def test_one_of_six_hundred_gates_can_fail(tmp_path: Path) -> None:
    write_baseline(many_gates(tmp_path / "good", 600, 30, 0), tmp_path / "b.json")
    rules = Rules({f"m{i:03}": Margin(0.1) for i in range(600)})
    verdict = judge(many_gates(tmp_path / "worse", 600, 30, 0.4, metric=500), tmp_path / "b.json", rules)
    assert [gate.metric for gate in verdict.failed] == ["m500"] and verdict.failed[0].p < 0.05


def test_gates_too_many_for_so_few_utterances_are_refused(tmp_path: Path) -> None:
    """Eight utterances that are all worse say p = 1/256, which 20 gates make 0.08."""
    write_baseline(many_gates(tmp_path / "good", 20, 8, 0), tmp_path / "b.json")
    worse = many_gates(tmp_path / "worse", 20, 8, 5.0)
    margins = {f"m{i:03}": Margin(0.1) for i in range(20)}
    with pytest.raises(GateError, match=r"8 utterances are too few to test: with 20 gate.* A test needs 9 utterances"):
        judge(worse, tmp_path / "b.json", Rules(margins))
    assert not judge(worse, tmp_path / "b.json", Rules(margins, correction="none")).passed
    assert not judge(worse, tmp_path / "b.json", Rules(dict(list(margins.items())[:12]))).passed


def test_speakers_too_few_to_test_are_refused(baseline: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", mel=0.02)
    rules = Rules({"mel-2048-80-ln1p": Margin(0.0)}, cluster="speaker", confidence=0.999)
    with pytest.raises(GateError, match="8 speakers are too few to test"):
        judge(run, baseline, rules)


def test_nothing_is_not_a_pass(baseline: Path, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="has no values"):
        judge(_null(tmp_path), baseline)
    with pytest.raises(GateError, match="nothing was gated"):
        judge(read_run(tmp_path / "good"), baseline, Rules({"stoi": read_rules().margins["stoi"]}))
    with pytest.raises(GateError, match="has no values, so it cannot be a baseline"):
        write_baseline(_null(tmp_path), tmp_path / "b.json")


def _null(tmp_path: Path) -> Run:
    about = {"metrics": METRICS, "dataset": {"name": "set", "revision": "r1"}}
    with RunWriter(tmp_path / "null", ["c"], about, overwrite=True) as writer:
        writer.add([Row("c", "set", "u", "pesq-wb", None, "silent")])
    return read_run(tmp_path / "null")


def test_an_unfinished_run_is_neither_judged_nor_a_baseline(baseline: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run = replace(run, provenance=replace(run.provenance, state="running"))
    with pytest.raises(GateError, match="needs a run that finished"):
        judge(run, baseline)
    with pytest.raises(GateError, match="needs a run that finished"):
        write_baseline(run, tmp_path / "b.json")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"dataset": {"name": "other", "revision": "r1"}}, "dataset with name 'set', the run of 'other'"),
        ({"dataset": {"name": "set", "revision": "r2"}}, "dataset with revision 'r1', the run of 'r2'"),
        ({"align": True}, r"a constant lag was not compensated \(--align\) in the baseline and was in the run"),
        ({"metrics": METRICS | {"pesq-wb": METRICS["pesq-wb"] | {"version": "2"}}}, "pesq-wb has version '1'"),
        ({"metrics": METRICS | {"pesq-wb": METRICS["pesq-wb"] | {"weights": {"w": "b"}}}}, "pesq-wb has weights None"),
    ],
)
def test_other_data_and_versions_do_not_compare(
    about: dict[str, Any], message: str, baseline: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        judge(make_run(tmp_path / "run", **about), baseline)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_baseline_without_a_number_is_refused(value: float | None, baseline: Path) -> None:
    about = json.loads(baseline.read_text())
    next(iter(next(iter(about["values"].values())).values()))["u00"] = value
    baseline.write_text(json.dumps(about))
    with pytest.raises(UsageError, match="cannot be read as a baseline"):
        read_baseline(baseline)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "values": {"c": 3}}'])
def test_a_broken_baseline_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(content)
    with pytest.raises(UsageError, match=r"b\.json"):
        read_baseline(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("metrics: {pesq-wb: {margin: much}}", "pesq-wb needs `margin: 0.05` or `margin: 2%`"),
        ("metrics: {pesq-wb: 0.1}", "pesq-wb needs"),
        ("metrics: {pesq-wb: {margin: -1}}", "pesq-wb needs"),
        ("metrics: {}", "needs a mapping `metrics`"),
        ("- a", "needs a mapping `metrics`"),
        ("{", "cannot be read as YAML"),
        ("{confidence: 2.0, metrics: {m: {margin: 1}}}", "confidence must be"),
        ("{correction: all, metrics: {m: {margin: 1}}}", "correction must be one of holm, bh, none"),
        ("{max_failed: -1, metrics: {m: {margin: 1}}}", "max_failed must be"),
        ("metrics:\n  m: {margin: 1}\n  m: {margin: 99}", "the key 'm' occurs twice"),
        ("{margin: 3, metrics: {m: {margin: 1}}}", r"unknown key\(s\) margin"),
    ],
)
def test_wrong_rules_are_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_rules(tmp_path / "gates.yaml")


# --- the command and its reports ---------------------------------------------------------------------------------


def test_the_command_in_ci(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    make_run(tmp_path / "worse", pesq=-0.2, jitter=0.05)
    files = ["--junit", str(tmp_path / "gate.xml"), "--summary", str(tmp_path / "gate.md")]
    assert main(["gate", str(tmp_path / "worse"), "--baseline", str(baseline), *files]) == 1
    printed = capsys.readouterr().out
    assert "Gate failed: 1 of 3 failed." in printed and "FAILED  c: PESQ-WB" in printed
    assert "::error title=c PESQ-WB::c: PESQ-WB 2." in printed and "%0Au" in printed
    (suite,) = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    (failure,) = suite.iter("failure")
    assert "worse on 30 utterances" in str(failure.get("message")) and "->" in str(failure.text)
    summary = (tmp_path / "gate.md").read_text()
    assert "### Gate failed: 1 of 3 failed." in summary and "❌ fail | c | PESQ-WB |" in summary
    assert "Worst utterances, c, PESQ-WB:" in summary and (tmp_path / "step.md").read_text() == summary

    assert main(["gate", str(tmp_path / "good"), "--baseline", str(baseline)]) == 0
    assert "::notice title=evalkit gate::Gate passed" in capsys.readouterr().out


def test_what_cannot_be_decided_is_told_in_every_file(
    baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    about = make_run(tmp_path / "cut").path / "run.json"
    about.write_text(about.read_text().replace('"finished"', '"running"'))
    files = ["--junit", str(tmp_path / "gate.xml"), "--summary", str(tmp_path / "gate.md")]
    assert main(["gate", str(tmp_path / "cut"), "--baseline", str(baseline), *files]) == 4
    assert "::error title=evalkit gate::" in capsys.readouterr().out
    (suite,) = ElementTree.parse(tmp_path / "gate.xml").getroot()
    (error,) = suite.iter("error")
    assert suite.get("errors") == "1" and "needs a run that finished" in str(error.get("message"))
    assert "needs a run that finished" in (tmp_path / "gate.md").read_text()


def test_update_writes_what_then_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, file = str(make_run(tmp_path / "run").path), str(tmp_path / "new" / "baseline.json")
    assert main(["gate", run, "--baseline", file]) == 2
    assert "there is no baseline" in capsys.readouterr().err
    assert main(["gate", run, "--baseline", file, "--update"]) == 0
    first = Path(file).read_bytes()
    assert main(["gate", run, "--baseline", file]) == 0
    assert main(["gate", run, "--baseline", file, "--update"]) == 0 and Path(file).read_bytes() == first


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system does not limit files")
def test_an_update_on_a_full_disk_keeps_the_old_baseline(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, run = baseline.read_bytes(), str(make_run(tmp_path / "run", pesq=1.0).path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        assert main(["gate", run, "--baseline", str(baseline), "--update"]) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert baseline.read_bytes() == known and "File too large" in capsys.readouterr().err


def test_annotations_escape_what_github_would_read() -> None:
    from evalkit.reports.gate import Gate

    gate = Gate("a:b,c", "m", "100%", "failed", 30, 2, 1, 1, 0.9, 0.1, 0.01)
    line = report.annotations(Verdict((gate,)))
    assert line.startswith("::error title=a%3Ab%2Cc 100%25::a:b,c: 100%25 2.000") and line.count("\n") == 1


def test_a_worse_codec_fails_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real audio: Opus at 6 kbit/s in the place of Opus at 12 kbit/s."""
    common = ["--limit", "8", "--metrics", "mel-2048-80-ln1p,bitrate", "--no-cache"]
    for rate in ("12k", "6k"):
        assert main(["run", "--codec", f"opus@{rate}", *common, "--output", str(tmp_path / rate)]) == 0
    baseline = str(tmp_path / "baseline.json")
    assert main(["gate", str(tmp_path / "12k"), "--baseline", baseline, "--update"]) == 0
    assert main(["gate", str(tmp_path / "12k"), "--baseline", baseline]) == 0
    assert main(["gate", str(tmp_path / "6k"), "--baseline", baseline]) == 4
    capsys.readouterr()
    assert main(["gate", str(tmp_path / "6k"), "--baseline", baseline, "--codec", "opus@6k"]) == 1
    assert "FAILED  opus@12k: Mel" in capsys.readouterr().out


def test_the_projects_own_baseline_is_of_the_metrics_as_they_are_now() -> None:
    """A metric whose version moves needs a new baseline in the same change: `make gate` would refuse the old one."""
    for name, about in read_baseline(Path(__file__).parents[2] / "ci" / "baseline.json").metrics.items():
        assert about["version"] == load_metric(name).version, name

"""What the field publishes: the data, a run beside it, and whether a run is sane."""

import csv
import io
from pathlib import Path

import pytest

from evalkit import plugins
from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.metrics.load import load_metric
from evalkit.pipeline.choice import choose
from evalkit.reports.field import ABOUT, build_against_field, build_sanity, claims, field, stated
from evalkit.reports.render import FORMATS
from evalkit.results.rows import CORPUS, Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter

LIBRISPEECH = "librispeech-test-clean"
KINDS = {
    "paper", "readme", "model card", "second-hand", "third party", "re-measured", "report", "blog", "benchmark",
}  # fmt: skip


def write_run(path: Path, means: dict[str, dict[str, float]], dataset: str = LIBRISPEECH, n: int = 20) -> Run:
    """A run whose codecs have these means, and corpus rows where a name ends in `-corpus`."""
    names = {name.removesuffix("-corpus") for values in means.values() for name in values}
    described = {
        name: {"label": metric.label, "direction": metric.direction, "decimals": metric.decimals, "version": "1"}
        for name in sorted(names)
        for metric in [load_metric(name)]
    }
    with RunWriter(path, list(means), {"metrics": described, "dataset": {"name": dataset}}) as writer:
        for codec, values in means.items():
            for name, value in values.items():
                spread = [CORPUS] if name.endswith("-corpus") else [f"u{i:02}" for i in range(n)]
                for i, utterance in enumerate(spread):
                    offset = 0.0 if len(spread) == 1 else 0.001 * (2 * i - n + 1)
                    writer.add([Row(codec, dataset, utterance, name, value + offset)])
    return read_run(path)


def test_every_number_has_a_source_a_kind_and_a_place() -> None:
    about = field()
    assert len(about["values"]) == 200, "201 rows less the one that is another codec's"
    for line in about["values"]:
        assert line["source"] in about["sources"] and line["kind"] in KINDS and line["set"] in about["sets"]
    rows = set(plugins.names("metric"))
    rows |= {row for name in rows for row in load_metric(name).pooled_names}
    assert {claim.metric for claim in claims()} <= rows, "what is no row of ours stands under `other`"
    for rates in about["codecs"].values():
        for codec in (codec for rows in rates.values() for codec in rows):
            assert choose(codec).spec == codec
    assert {key for line in about["values"] for key in line} - {claim.metric for claim in claims()} <= set(ABOUT)


def test_what_is_broken_is_left_out() -> None:
    broken = [c for c in claims() if c.source == "codec-comparison" and c.codec.startswith("NanoCodec")]
    assert {c.metric for c in broken} == {"utmos22-strong", "dwer-whisper-large-v3"}
    assert not [c for c in claims() if c.source == "qwen3-tts" and c.codec == "X-codec"]
    assert not [c for c in claims() if c.value < 0.2 and c.metric == "stoi"]


def test_what_was_copied_counts_once_and_what_disagrees_is_a_range() -> None:
    assert [c.value for c in stated("xcodec2@0.8k", LIBRISPEECH, "pesq-wb")] == [2.43]
    everywhere = [c for c in claims() if c.codec == "X-codec2" and c.metric == "pesq-wb" and c.set == "librispeech"]
    assert len(everywhere) > 4 and sum(not c.copied for c in everywhere) == 1
    low, *_, high = stated("mimi@1.1k", LIBRISPEECH, "pesq-wb")
    assert (low.value, high.value) == (2.22, 2.25) and low.source != high.source
    assert stated("mimi@1.1k", "builtin", "pesq-wb") == []


def test_a_run_beside_the_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    means = {
        "mimi@1.1k": {"pesq-wb": 2.28, "stoi": 0.907, "wer-hubert-large-ls960-corpus": 2.9},
        "xcodec2@0.8k": {"pesq-wb": 2.4},
        "opus@6k": {"pesq-wb": 2.0},
    }
    run = write_run(tmp_path / "run", means)
    (table,) = build_against_field([run])
    lines = list(csv.DictReader(io.StringIO(FORMATS["csv"](table))))
    text = {(row[0].text, row[1].text): [cell.text for cell in row] for row in table.rows}
    assert text["mimi@1.1k", "PESQ-WB"][4] == "2.22 to 2.25"
    assert (
        "llasa (paper)" in text["mimi@1.1k", "PESQ-WB"][5]
        and "litcodec (second-hand)" in text["mimi@1.1k", "PESQ-WB"][5]
    )
    deviations = {(line["codec"], line["metric"]): float(line["deviation"]) for line in lines}
    assert deviations["mimi@1.1k", "PESQ-WB"] == pytest.approx(0.03)
    assert deviations["mimi@1.1k", "STOI"] == 0 and text["mimi@1.1k", "STOI"][6] == "in the range"
    assert deviations["xcodec2@0.8k", "PESQ-WB"] == pytest.approx(-0.03)
    assert text["mimi@1.1k", "WER (HuBERT) corpus"][4] == "2.96"
    assert "opus@6k" not in {codec for codec, _ in text}
    notes = " ".join(table.notes)
    assert "20 of the 2620 utterances" in notes and "arXiv 2502.04128" in notes
    assert main(["table", str(run.path), "--against", "field", "--format", "markdown"]) == 0
    assert "2.22 to 2.25" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no source has a value"):
        build_against_field([write_run(tmp_path / "other", means, dataset="builtin")])


def test_sanity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    means = {
        "pcm@float32": {"pesq-wb": 4.644, "stoi": 1.0, "utmos22-strong": 4.08},
        "mimi@1.1k": {"pesq-wb": 2.24, "stoi": 0.8},
    }
    run = write_run(tmp_path / "run", means)
    (table,) = build_sanity([run])
    said = {(row[0].text, row[1].text): row[-1].text for row in table.rows}
    assert said == {
        ("pcm@float32", "PESQ-WB"): "yes", ("pcm@float32", "STOI"): "yes", ("pcm@float32", "UTMOS"): "yes",
        ("mimi@1.1k", "PESQ-WB"): "yes", ("mimi@1.1k", "STOI"): "NO",
    }  # fmt: skip
    assert table.notes[0] == "1 of 5 differ."
    assert main(["table", str(run.path), "--sanity"]) == 0 and "differ" in capsys.readouterr().out
    (other,) = build_sanity([write_run(tmp_path / "other", means, dataset="builtin")])
    assert [row[1].text for row in other.rows] == ["STOI", "PESQ-WB"], "what is known of any data"
    with pytest.raises(UsageError, match="there is nothing to check"):
        build_sanity([write_run(tmp_path / "none", {"opus@6k": {"stoi": 0.9}})])


def test_the_sanity_values_are_those_of_the_sources() -> None:
    for check in field()["sanity"]:
        if check["codec"] == "Mimi":
            same = [
                c.value for c in claims()
                if (c.codec, c.kbps, c.set, c.metric) == ("Mimi", "1.1", "librispeech", check["metric"])
            ]  # fmt: skip
            assert check["value"] in same
            assert all(abs(value - check["value"]) <= check["within"] + 1e-9 for value in same)

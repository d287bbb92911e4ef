"""Comparisons of every two codecs: what is printed agrees with what the statistics say."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from evalkit.errors import UsageError
from evalkit.reports.compare import build_comparisons
from evalkit.reports.render import FORMATS
from evalkit.results.rows import Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter

from .changed import changed

LEVEL = np.random.default_rng(0).normal(3, 0.4, 20)
NOISE = np.random.default_rng(1).normal(0, 0.1, 20)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    values = {"a": LEVEL, "b": LEVEL + NOISE - NOISE.mean(), "c": LEVEL + 0.3 + NOISE, "few": LEVEL[:3]}
    metrics = {
        "pesq-wb": {"label": "PESQ-WB", "direction": "up", "version": "1", "decimals": 2},
        "mel": {"label": "Mel", "direction": "down", "version": "1", "decimals": 3},
        "entropy": {"label": "H", "direction": "none", "version": "1", "decimals": 3},
    }
    with RunWriter(tmp_path / "run", list(values), {"metrics": metrics}) as writer:
        writer.add(
            Row(codec, "set", f"u{i:02}", metric, float(v), speaker=f"s{i % 7}")
            for codec, vs in values.items() for i, v in enumerate(vs) for metric in metrics
        )  # fmt: skip
    return read_run(tmp_path / "run")


def lines(run: Run, **arguments: object) -> dict[tuple[str, str, str], dict[str, str]]:
    (table,) = build_comparisons([run], **arguments)  # type: ignore[arg-type]
    read = csv.DictReader(io.StringIO(FORMATS["csv"](table)))
    return {(line["a"], line["b"], line["metric"]): line for line in read}


def test_every_two_codecs_by_every_metric_with_a_better_end(run: Run) -> None:
    found = lines(run)
    assert len(found) == 6 * 2
    line = found["a", "c", "PESQ-WB"]
    assert float(line["difference"]) == pytest.approx(-0.3 - NOISE.mean())
    assert float(line["p_wilcoxon"]) == pytest.approx(scipy.stats.wilcoxon(0.3 + NOISE).pvalue)
    assert line["better"] == "c" and found["a", "c", "Mel"]["better"] == "a"
    assert found["a", "b", "PESQ-WB"]["better"] == "indistinguishable"
    assert found["a", "few", "PESQ-WB"]["better"] == "too few pairs" and found["a", "few", "PESQ-WB"]["n"] == "3"


def test_what_does_not_rank_and_what_a_codec_was_trained_on_are_not_compared(run: Run) -> None:
    run = changed(run, {"c": {"trained_on_metrics": ["pesq-wb"]}}, mel={"ranks": False})
    (table,) = build_comparisons([run])
    assert {(line[0].text, line[1].text, line[2].text) for line in table.rows} == {
        ("a", "b", "PESQ-WB"), ("a", "few", "PESQ-WB"), ("b", "few", "PESQ-WB"),
    }  # fmt: skip
    assert "Holm over 1 comparisons" in table.notes[0]
    assert "Not compared because the codec was trained on the metric: c by PESQ-WB." in table.notes
    with pytest.raises(UsageError, match="no run has a metric mel that ranks codecs"):
        build_comparisons([run], metrics=["mel"])


def test_codecs_and_metrics_are_chosen(run: Run) -> None:
    assert list(lines(run, codecs=["c", "a"], metrics=["mel"])) == [("c", "a", "Mel")]
    with pytest.raises(UsageError, match="no run has a metric entropy that ranks codecs"):
        build_comparisons([run], metrics=["entropy"])
    with pytest.raises(UsageError, match="no run has the codec gone"):
        build_comparisons([run], codecs=["gone"])

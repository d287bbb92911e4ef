"""Curves over levels of a condition, and the figure of all conditions."""

from pathlib import Path

import numpy as np
import pytest

from evalkit.reports.breakdown import build_breakdown
from evalkit.reports.condition_plots import sweeps
from evalkit.reports.plots import all_plots
from evalkit.results.rows import Row
from evalkit.results.run import Run, read_run
from evalkit.results.run_directory import RunWriter

LEVELS = {"clean": 3.0, "tandem:n=2": 2.5, "tandem:n=10": 1.5, "noise:snr=0,type=babble": 1.0}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    about = {"label": "PESQ", "direction": "up", "unit": "", "decimals": 2, "version": "1"}
    conditions = {name: {"about": "", "reference": "clean", "version": "1"} for name in LEVELS}
    provenance = {
        "metrics": {"pesq-wb": about}, "codecs": {"a@1k": {}, "b@2k": {}}, "dataset": {"name": "set"},
        "conditions": conditions,
    }  # fmt: skip
    rng = np.random.default_rng(0)
    with RunWriter(tmp_path / "run", ["a@1k", "b@2k"], provenance) as writer:
        writer.add(
            Row(codec, "set", f"u{i}", "pesq-wb", mean + gain + 0.1 * rng.standard_normal(), condition=condition)
            for codec, gain in (("a@1k", 0.0), ("b@2k", 0.5))
            for condition, mean in LEVELS.items()
            for i in range(12)
        )
    return read_run(tmp_path / "run")


def test_levels_of_one_kind_make_a_sweep() -> None:
    found = sweeps(["noise:snr=10", "clean", "noise:snr=0", "noise:snr=10,type=babble", "tandem:n=2", "concat"])
    assert found == {
        "noise:snr": {0.0: "noise:snr=0", 10.0: "noise:snr=10"},
        "tandem:n": {1.0: "clean", 2.0: "tandem:n=2"},
    }


def test_figures_show_the_levels_in_order_and_the_clean_one_where_it_belongs(run: Run) -> None:
    figures = dict(all_plots([run]))
    assert set(figures) == {
        "set-pesq-wb-rate", "set-pesq-wb-distribution", "set-pesq-wb-tandem-n", "set-pesq-wb-conditions"
    }  # fmt: skip
    (axes,) = figures["set-pesq-wb-tandem-n"].axes
    for line, gain in zip(axes.lines, (0.0, 0.5), strict=True):
        assert list(line.get_xdata()) == [1, 2, 10]
        assert np.asarray(line.get_ydata(), float) == pytest.approx([3 + gain, 2.5 + gain, 1.5 + gain], abs=0.15)
    (axes,) = figures["set-pesq-wb-conditions"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(LEVELS)


def test_a_table_by_condition_keeps_their_order_and_no_average(run: Run) -> None:
    (table,) = build_breakdown([run], "condition")
    assert [(row[0].text, row[1].text) for row in table.rows] == [(c, k) for c in ("a@1k", "b@2k") for k in LEVELS]

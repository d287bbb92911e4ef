"""Named sets of metrics, what of them can run here, and what a suite lacks."""

from dataclasses import replace
from pathlib import Path

import pytest

from evalkit import plugins
from evalkit.errors import MissingError, UsageError
from evalkit.metrics.load import load_metric
from evalkit.pipeline.choice import choose
from evalkit.pipeline.suites import (
    available_metrics,
    expand_metrics,
    load_suite,
    metric_suites,
    missing_lines,
    suites,
    use_metric,
)


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights and no data on this machine."""
    for name in ("HF_HUB_CACHE", "TORCH_HOME", "EVALKIT_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))


def test_every_set_names_metrics_that_exist() -> None:
    for name, members in metric_suites().items():
        assert expand_metrics([name]) == tuple(members)
    assert expand_metrics(["all"]) == tuple(plugins.names("metric"))


def test_sets_and_metrics_mix_and_each_comes_once() -> None:
    fast = tuple(metric_suites()["fast"])
    assert expand_metrics(["estoi", "fast", "si-sdr", "estoi"]) == ("estoi", *fast)
    with pytest.raises(UsageError, match=r"unknown metric 'papre'. Did you mean 'paper'\?"):
        expand_metrics(["papre"])


def test_available_leaves_out_what_cannot_run_here(nothing_here: None) -> None:
    names, left_out = available_metrics(["si-sdr", "secs-ecapa2", "available"], ["en"])
    assert names == ("si-sdr",) and list(left_out) == ["secs-ecapa2"]
    assert missing_lines(left_out).startswith("  secs-ecapa2: needs ")
    assert available_metrics(["si-sdr", "secs-ecapa2"], ["en"]) == (("si-sdr", "secs-ecapa2"), {})
    with pytest.raises(MissingError, match="none of these metrics can run here yet"):
        available_metrics(["secs-ecapa2", "available"], ["en"])


def test_a_metric_of_ones_own_takes_no_name_of_an_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    mine = replace(load_metric("si-sdr"), name="my-sdr")
    assert use_metric(mine) == "my-sdr" and expand_metrics(["my-sdr"]) == ("my-sdr",)
    with pytest.raises(UsageError, match="name of an installed one, si-sdr: rename it"):
        use_metric(load_metric("si-sdr"))


def test_every_suite_names_metrics_and_codecs_that_exist() -> None:
    for name, suite in suites().items():
        assert load_suite(name) == suite and expand_metrics(suite.metrics)
        assert all(choose(codec) for codec in suite.codecs)
    with pytest.raises(UsageError, match="unknown suite"):
        load_suite("papers")


def test_a_suite_lists_all_that_it_lacks(nothing_here: None, tmp_path: Path) -> None:
    suite = replace(next(iter(suites().values())), datasets=("mls",), metrics=("si-sdr", "secs-ecapa2"))
    suite = replace(suite, codecs=("pcm", "mimi", "ts3"))
    with pytest.raises(MissingError) as caught:
        suite.check()
    for word in ("codec mimi@1.1k", "codec ts3@0.85k", "metric secs-ecapa2", "dataset mls", "evalkit fetch"):
        assert word in str(caught.value)
    assert "si-sdr" not in str(caught.value) and "pcm" not in str(caught.value)
    given = replace(suite, datasets=("builtin",))
    given.check(available=True, weights=["mimi=w"], rendered=[f"ts3={tmp_path}"])

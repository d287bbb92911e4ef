"""A plan is complete before any work starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.datasets import load_dataset
from evalkit.errors import MissingError, UsageError
from evalkit.pipeline.choice import assign, choose, choose_all
from evalkit.pipeline.plan import Plan, rows_of
from evalkit.pipeline.schedule import scoring_processes
from evalkit.pipeline.shard import Shard


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan((choose("pcm"),), load_dataset("builtin", 4), ("si-sdr",), tmp_path, scoring_processes(1))


def test_everything_that_is_missing_is_named_at_once(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    plan.check()
    lacking = replace(plan, systems=(choose("mimi"), choose("ts3")), metrics=("si-sdr", "secs-ecapa2"))
    with pytest.raises(MissingError) as caught:
        lacking.check()
    assert all(word in str(caught.value) for word in ("mimi@1.1k", "ts3@0.85k: rendered only", "secs-ecapa2"))


def test_a_shard_takes_its_part(plan: Plan) -> None:
    parts = [replace(plan, shard=Shard(number, 3)).utterances for number in (1, 2, 3)]
    assert sorted(u.id for part in parts for u in part) == sorted(u.id for u in plan.utterances)


def test_rows_are_those_of_scored_metrics() -> None:
    assert rows_of(["bitrate", "si-sdr", "cer-mms"]) == ["si-sdr", "cer-mms", "cer-mms-chars"]


def test_paths_are_given_to_the_codec_that_is_meant(tmp_path: Path) -> None:
    codecs = choose_all(["a=nanocodec@1.1k", "b=nanocodec@1.1k", "mimi"])
    with_equals = tmp_path / "x=y.safetensors"
    with_equals.touch()
    weights = assign(codecs, [f"b={with_equals}", "mimi=w"], "--weights")
    assert [one.weights for one in weights] == [None, with_equals, Path("w")]
    assert assign(codecs[:1], [str(with_equals)], "--weights")[0].weights == with_equals
    with pytest.raises(UsageError, match="which codec is this for"):
        assign(codecs, ["nanocodec=w"], "--weights")

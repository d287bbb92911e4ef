"""Datasets, metrics and conditions of others: what they say of themselves that cannot be is refused before anything is
measured, in one sentence; what they raise on the way costs their own rows."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import evalkit
from evalkit import plugins
from evalkit.audio import Audio
from evalkit.baselines.pcm import PcmFamily
from evalkit.codecs import CodecInfo
from evalkit.conditions import Condition, load_conditions
from evalkit.datasets import load_dataset
from evalkit.datasets.base import Dataset, Utterance
from evalkit.errors import MissingError, UsageError
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.load import load_metric
from evalkit.pipeline.describe import describe_metrics
from evalkit.pipeline.plan import missing_metrics

AUDIO = Audio(np.sin(np.arange(8000) / 9, dtype=np.float32), 16_000)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    load_metric.cache_clear()


@pytest.mark.parametrize(
    ("load", "error", "said"),
    [
        (lambda: 1 / 0, MissingError, "ZeroDivisionError"),
        (lambda: sys.exit(0), MissingError, "SystemExit: 0"),
        (lambda: os._exit(0), MissingError, "SystemExit: 0"),
        (lambda: None, UsageError, "not a NoneType"),
        (lambda: Dataset("d", (Utterance(3, AUDIO),), "", ""), UsageError, "the id 3 "),  # type: ignore[arg-type]
        (lambda: Dataset("d", (Utterance("\udcff", AUDIO),), "", ""), UsageError, "the id "),
        (lambda: Dataset("d", (Utterance("a", AUDIO, language=3),), "", ""), UsageError, "the language 3 of 'a'"),  # type: ignore[arg-type]
        (lambda: Dataset("d", (Utterance("a", AUDIO, transcript="\udcff"),), "", ""), UsageError, "the transcript "),
        (lambda: Dataset("\udcff", (Utterance("a", AUDIO),), "", ""), UsageError, "must be texts"),
        (lambda: Dataset("d", (1,), "", ""), MissingError, "AttributeError"),  # type: ignore[arg-type]
        (lambda: Dataset(None, (Utterance("a", AUDIO),), "", ""), UsageError, "must be texts"),  # type: ignore[arg-type]
    ],
)
def test_a_dataset_that_is_none_is_refused(load: Callable[[], Any], error: type[Exception], said: str) -> None:
    plugins.register("dataset", "mine", load)
    with pytest.raises(error, match=said):
        load_dataset("mine")


@dataclass(frozen=True)
class Half(PairMetric):
    """Half of everything."""

    def score(self, pair: Pair) -> float:
        return 0.5


def raises(*_: object) -> None:
    sys.exit(0)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("rate", 0), ("rate", "x"), ("max_seconds", None), ("max_seconds", float("nan")), ("rows", ("half", "half")),
        ("rows", property(raises)), ("rows", "half"), ("imports", (3,)), ("note", 3), ("ranks", "x"),
        ("availability", raises), ("availability", lambda *_: None), ("identity", raises),
        ("identity", lambda *_: {"x": object()}), ("pooled_names", property(raises)),
    ],
)  # fmt: skip
def test_a_metric_that_says_what_cannot_be_is_refused(what: str, value: object) -> None:
    kind = dataclass(frozen=True)(type("Odd", (Half,), {what: value}))
    plugins.register("metric", "half", kind("half", "Half", "up", "", 0.0, 1.0, "1", 2))
    with pytest.raises((UsageError, MissingError), match="half"):
        missing_metrics(["half"], ())
        describe_metrics(["half"])


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [
        ("availability", raises, "SystemExit: 0"), ("availability", lambda *_: None, "not an Availability"),
        ("name", property(raises), "SystemExit: 0"), ("name", None, "name of a codec must be a string"),
        ("rates", property(raises), "SystemExit: 0"), ("build", lambda *_: None, "cannot be opened"),
        ("info", raises, "SystemExit: 0"),
        ("info", lambda *_: CodecInfo(weights=object()), "cannot be opened"),
    ],
)  # fmt: skip
def test_a_family_that_says_what_cannot_be_is_refused(what: str, value: object, said: str, tmp_path: Path) -> None:
    plugins.register("codec", "mine", type("Odd", (PcmFamily,), {what: value})())
    with pytest.raises((UsageError, MissingError), match=said):
        evalkit.run("mine", Dataset("d", (Utterance("a", AUDIO),), "", ""), "bitrate", tmp_path / "run", cache=False)


@dataclass(frozen=True)
class Does(Condition):
    """Does `action` to the audio."""

    kind = "does"
    about = "Something odd."
    action: ClassVar[Callable[[Audio], Any]]

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        return type(self).action(audio)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (lambda audio: None, "'NoneType' object has no attribute 'wav'"),
        (lambda audio: os._exit(0), "SystemExit: 0"),
        (lambda audio: Audio(audio.wav, 3), "returned audio at 3 Hz"),
        (lambda audio: Audio(audio.wav * np.float32(np.nan), 16_000), "returned NaN or infinite samples"),
        (lambda audio: Audio(audio.wav[:, None], 16_000), r"returned a float32 array \[8000, 1\]"),
    ],
)
def test_what_a_condition_does_wrong_costs_its_own_rows(
    action: Callable[[Audio], Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Does, "action", staticmethod(action), raising=False)
    data = Dataset("d", (Utterance("a", AUDIO),), "", "")
    run = evalkit.run("pcm", data, "si-sdr", tmp_path / "run", conditions=["clean", Does()], cache=False)
    rows = run.rows.set_index("condition")
    assert rows.loc["clean", "value"] == 100
    assert re.search(f"^the condition does .*{said}", rows.loc["does", "reason"])


def test_what_is_no_condition_is_refused() -> None:
    plugins.register("condition", "mine", lambda: None)
    with pytest.raises(UsageError, match="mine is not a condition"):
        load_conditions(["mine"])
    for odd in (object(), dataclass(frozen=True)(type("Nameless", (Condition,), {}))()):
        with pytest.raises(UsageError, match="is not a condition"):
            load_conditions([odd])  # type: ignore[list-item]

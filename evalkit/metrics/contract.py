"""Checks that a metric keeps the contract of `evalkit.metrics.base`; `evalkit.testing` offers them."""

import json
import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evalkit.audio import Wave, resample
from evalkit.codecs import Availability, Codes
from evalkit.datasets import builtin
from evalkit.environment.downloads import File
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import SCORE_RATE, CodesMetric, Pair, PairMetric, TokenMetric
from evalkit.metrics.model import ModelMetric

DECLARED = (
    "name", "label", "direction", "unit", "low", "high", "version", "decimals", "ranks", "note", "uses_reference",
    "rate", "max_seconds",
)  # fmt: skip
"""What every metric declares."""


def check_metric(metric: Any, pair: Pair | None = None, copy_is_best: bool | None = None) -> None:
    """Check that `metric` follows the contract: its declarations, and its values for good and for bad audio.

    A metric with a model is scored only if its weights and packages are on this machine.

    Args:
        metric: An instance of `PairMetric`, `ModelMetric`, `CodesMetric` or `TokenMetric`.
        pair: What to score; by default `example_pair()`, at the metric's own rate.
        copy_is_best: Whether a perfect copy must score no worse than `pair`; by default, if it `uses_reference`.

    Raises:
        AssertionError: It breaks the contract; the message names the metric, the attribute or the input, and the wrong
            value.
    """
    check_declared(metric)
    if isinstance(metric, CodesMetric):
        _check_codes_metric(metric)
        return
    if isinstance(metric, TokenMetric):
        _check_token_metric(metric)
        return
    if not metric.availability(["en"]).ready:
        return
    if pair is None:
        pair = example_pair(rate=metric.rate)
    score = scoring(metric)
    value = _check_value(metric, score, pair, "speech")
    _check_value(metric, score, Pair(pair.decoded, pair.reference, pair.transcript, pair.language), "speech, swapped")
    again = _check_value(metric, score, pair, "speech, a second time")
    assert value == again, f"{metric.name}: the same speech gave {value} first and {again} the second time"
    copy = _check_value(metric, score, Pair(pair.reference, pair.reference, pair.transcript, pair.language), "a copy")
    if (metric.uses_reference if copy_is_best is None else copy_is_best) and metric.direction != "none":
        better = copy >= value if metric.direction == "up" else copy <= value
        assert better, (
            f"{metric.name}: direction is {metric.direction!r}, but a perfect copy has {copy} and worse audio {value}"
        )
    for what, wav in _awkward(metric.rate):
        _check_value(metric, score, Pair(wav, wav, pair.transcript, pair.language), what, may_refuse=True)
        part = Pair(pair.reference[: len(wav)], wav[: len(pair.reference)], pair.transcript, pair.language)
        _check_value(metric, score, part, f"speech decoded as {what}", may_refuse=True)


def check_declared(metric: Any) -> None:
    """Check name, direction, range and everything else that `metric` declares.

    Raises:
        AssertionError: An attribute is missing or has an impossible value; the message names both.
    """
    kinds = (PairMetric, ModelMetric, CodesMetric, TokenMetric)
    called = getattr(metric, "name", repr(metric))
    missing = [name for name in DECLARED if not hasattr(metric, name)]
    assert not missing, f"{called}: {', '.join(missing)} missing: see evalkit.metrics.base.Metric"
    assert isinstance(metric, kinds), (
        f"{called}: {type(metric).__name__} derives from none of {', '.join(kind.__name__ for kind in kinds)}"
    )
    rules: dict[str, tuple[bool, str]] = {
        "name": (_is_text(metric.name) and not set(metric.name) & set(" ,@"), "a string without spaces, commas and @"),
        "label": (_is_text(metric.label), "a string"),
        "direction": (metric.direction in ("up", "down", "none"), "'up', 'down' or 'none'"),
        "unit": (isinstance(metric.unit, str), "a string, which may be empty"),
        "low": (_is_number(metric.low), "a number; -inf where there is no bound"),
        "high": (_is_number(metric.high) and metric.low < metric.high, f"a number above low, {metric.low!r}"),
        "version": (_is_text(metric.version), "a string"),
        "decimals": (isinstance(metric.decimals, int) and metric.decimals >= 0, "an int, 0 or more"),
        "ranks": (isinstance(metric.ranks, bool), "True or False"),
        "note": (isinstance(metric.note, str) and bool(metric.note or metric.ranks), "a string where ranks is False"),
        "uses_reference": (isinstance(metric.uses_reference, bool), "True or False"),
        "rate": (isinstance(metric.rate, int) and metric.rate > 0, "an int in Hz"),
        "max_seconds": (_is_number(metric.max_seconds) and metric.max_seconds > 0, "a number above 0"),
    }  # fmt: skip
    for name, (kept, wanted) in rules.items():
        assert kept, f"{called}: {name} must be {wanted}, not {getattr(metric, name)!r}"
    assert type(metric).__doc__ and not str(type(metric).__doc__).startswith(f"{type(metric).__name__}("), (
        f"{called}: __doc__ missing: say what {type(metric).__name__} computes, its unit and its range"
    )
    rows = metric.rows
    assert rows and rows[0] == metric.name, f"{called}: rows must begin with its name, not {rows!r}"
    try:
        copied = pickle.loads(pickle.dumps(metric))
    except Exception as error:
        raise AssertionError(f"{called}: cannot be pickled ({error}); worker processes need that") from error
    assert copied == metric, f"{called}: it changes when pickled: {copied!r}, not {metric!r}"
    assert " at 0x" not in repr(metric), (
        f"{called}: its repr contains a memory address, so the cache would never find its scores: {metric!r}"
    )
    if isinstance(metric, ModelMetric):
        for what, kind in (("files", File), ("packages", str)):
            for one in getattr(metric, what):
                assert isinstance(one, kind), f"{called}: {what} must be a tuple of {kind.__name__}, but has {one!r}"
    state = metric.availability(["en"])
    assert isinstance(state, Availability), f"{called}: availability() must give an Availability, not {state!r}"
    assert state.ready or state.remedy, f"{called}: availability() is {state.code!r} without a remedy"
    if isinstance(metric, ModelMetric):
        assert _is_text(metric.model), f"{called}: model must be a string, not {metric.model!r}"
        try:
            json.dumps(metric.identity("en"))
        except (TypeError, ValueError) as error:
            raise AssertionError(f"{called}: identity() must be JSON values ({error})") from error


def example_pair(seconds: float = 2.0, snr: float = 20.0, rate: int = SCORE_RATE) -> Pair:
    """Speech of the built-in set, and the same with white noise from a fixed seed.

    Args:
        seconds: Length.
        snr: Signal-to-noise ratio in dB.
        rate: Hz.

    Returns:
        Read-only arrays [T], with the transcript and the language.
    """
    utterance = next(one for one in builtin.load() if one.language == "en")
    audio = utterance.audio()
    clean = resample(audio.wav, audio.sample_rate, rate)[: round(seconds * rate)]
    noise = np.random.default_rng(0).standard_normal(len(clean))
    noise *= np.sqrt(np.mean(np.square(clean, dtype=np.float64))) * 10 ** (-snr / 20)
    return Pair(_locked(clean), _locked((clean + noise).astype(np.float32)), utterance.transcript, utterance.language)


def scoring(metric: PairMetric | ModelMetric) -> Callable[[Pair], Mapping[str, float]]:
    """What gives the values of a pair by row name, with the metric's model open."""
    if isinstance(metric, PairMetric):
        return lambda pair: {metric.name: metric.score(pair)}
    scorer = metric.open("cpu")
    return lambda pair: scorer.score(metric, pair)


def _check_value(
    metric: PairMetric | ModelMetric,
    score: Callable[[Pair], Mapping[str, float]],
    pair: Pair,
    what: str,
    may_refuse: bool = False,
) -> float:
    """The value of the metric's own row, in its range; NaN where it may refuse, and does, with a reason."""
    pair = Pair(_locked(pair.reference), _locked(pair.decoded), pair.transcript, pair.language)
    try:
        values = score(pair)
    except UndefinedScore as error:
        assert may_refuse, f"{metric.name}: no value for {what}: {error}"
        assert str(error), f"{metric.name}: UndefinedScore without a reason for {what}"
        return math.nan
    except Exception as error:
        hint = "; the arrays are read-only, a metric must not change them" if "read-only" in str(error) else ""
        raise AssertionError(f"{metric.name}: {type(error).__name__} for {what}: {error}{hint}") from error
    assert set(values) == set(metric.rows), (
        f"{metric.name}: rows are {list(metric.rows)}, but {what} gave {list(values)}"
    )
    for row, value in values.items():
        assert isinstance(value, float | int) and math.isfinite(value), (
            f"{metric.name}: {row} must be a finite number or UndefinedScore, not {value!r} ({what})"
        )
    value = values[metric.name]
    assert metric.low <= value <= metric.high, (
        f"{metric.name}: {value!r} for {what} lies outside of low and high, {metric.low:g} to {metric.high:g}"
    )
    return float(value)


def _check_codes_metric(metric: CodesMetric) -> None:
    rng = np.random.default_rng(0)
    codes = [Codes(16_000, rng.integers(0, 8, (2, 50)), (8, 8)) for _ in range(3)]
    values = metric.score(codes, 3.0)
    assert metric.name in values, f"{metric.name}: no row of its own name among {list(values)}"
    for row, value in values.items():
        assert row == metric.name or row.startswith(f"{metric.name}-"), f"{metric.name}: has a row {row!r}"
        assert math.isfinite(value) and metric.low <= value <= metric.high, (
            f"{metric.name}: {row} is {value!r}, outside of low and high, {metric.low:g} to {metric.high:g}"
        )
    try:
        values = metric.score([], 0.0)
    except UndefinedScore as error:
        assert str(error), f"{metric.name}: UndefinedScore without a reason where nothing was encoded"
    else:
        raise AssertionError(f"{metric.name}: {dict(values)!r} where nothing was encoded; raise UndefinedScore")


def _check_token_metric(metric: TokenMetric) -> None:
    rng = np.random.default_rng(0)
    clean = Codes(16_000, rng.integers(0, 8, (2, 50)), (8, 8))
    other = Codes(16_000, rng.integers(0, 8, (2, 50)), (8, 8))
    for codes in (clean, other):
        for row, value in metric.score(codes, clean).items():
            assert row == metric.name or row.startswith(f"{metric.name}-"), f"{metric.name}: has a row {row!r}"
            assert math.isfinite(value) and metric.low <= value <= metric.high, (
                f"{metric.name}: {row} is {value!r}, outside of low and high, {metric.low:g} to {metric.high:g}"
            )
    same, changed = (metric.score(codes, clean)[metric.name] for codes in (clean, other))
    better = same >= changed if metric.direction == "up" else same <= changed
    assert better or metric.direction == "none", f"{metric.name}: equal codes have {same} and others {changed}"


def _awkward(rate: int) -> list[tuple[str, Wave]]:
    """Audio that a metric has a value or a reason for."""
    half = rate // 2
    square = np.sign(np.sin(2 * np.pi * 200 * np.arange(half) / rate) + 1e-3).astype(np.float32)
    return [
        ("no samples", np.zeros(0, np.float32)),
        ("one sample", np.full(1, 0.1, np.float32)),
        ("half a second of silence", np.zeros(half, np.float32)),
        ("half a second of DC", np.full(half, 0.25, np.float32)),
        ("a square wave at full scale", square),
        ("a square wave 6 dB beyond full scale", 2 * square),
    ]


def _locked(wav: Wave) -> Wave:
    wav = wav.view()
    wav.setflags(write=False)
    return wav


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)

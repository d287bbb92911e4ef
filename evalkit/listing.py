"""What there is: codecs, metrics and datasets, each with its state."""

from collections.abc import Callable
from typing import Any

from evalkit import plugins
from evalkit.codecs import CodecFamily, State
from evalkit.errors import EvalkitError
from evalkit.suites import metric_suites

Listing = tuple[list[str], list[list[Any]]]
"""Column names and rows."""


def list_codecs() -> Listing:
    rows: list[list[Any]] = []
    for name in plugins.names("codec"):
        try:
            family: CodecFamily = plugins.load("codec", name)
        except EvalkitError as error:
            rows.append([name, None, "", f"cannot be loaded: {error}"])
            continue
        for rate in sorted(family.rates, key=lambda r: family.rates[r]):
            state = family.state(rate)
            rows.append([f"{name}@{rate}", round(family.rates[rate], 1), family.license, _state(state)])
    return ["codec", "bit/s", "license", "state"], rows


def list_metrics() -> Listing:
    suites = metric_suites()
    rows = []
    for name in plugins.names("metric"):
        metric = plugins.load("metric", name)
        sets = ", ".join(suite for suite, members in suites.items() if name in members)
        better = {"up": "higher", "down": "lower", "none": "–"}[metric.direction]
        rows.append([name, metric.label, better, metric.unit, f"{metric.low:g} to {metric.high:g}", sets, "ready"])
    return ["metric", "label", "better", "unit", "range", "sets", "state"], rows


def list_datasets() -> Listing:
    rows: list[list[Any]] = []
    for name in plugins.names("dataset"):
        try:
            dataset = plugins.load("dataset", name)()
            rows.append([name, len(dataset), ", ".join(dataset.languages), dataset.license, "ready"])
        except EvalkitError as error:
            rows.append([name, None, "", "", str(error)])
    return ["dataset", "utterances", "languages", "license", "state"], rows


def _state(state: State) -> str:
    return f"{state.code}: {state.remedy}" if state.remedy else state.code


LISTINGS: dict[str, Callable[[], Listing]] = {
    "codecs": list_codecs,
    "metrics": list_metrics,
    "datasets": list_datasets,
}

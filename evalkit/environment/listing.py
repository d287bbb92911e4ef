"""What there is: codecs, metrics and datasets, each with its state."""

import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from evalkit import datasets, plugins
from evalkit.codecs import CodecFamily, CodecInfo, Described
from evalkit.conditions.base import Condition
from evalkit.environment.downloads import megabytes
from evalkit.errors import EvalkitError
from evalkit.files import read_bytes
from evalkit.metrics.base import Metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.suites import metric_suites, suites
from evalkit.results.provenance import Provenance

Listing = tuple[list[str], list[list[Any]]]
"""Column names and rows."""


def list_codecs() -> Listing:
    """Every codec at every rate; None where nobody says."""
    columns = [
        "codec", "bit/s", "sample_rate", "frame_rate", "codebook_sizes", "parameters", "code_license",
        "weights_license", "weights", "causal", "state", "remedy", "shown", "output_rate", "variable", "continuous",
        "extra_bits", "depends_on",
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for name in plugins.names("codec"):
        try:
            family: CodecFamily = plugins.load("codec", name)
        except EvalkitError as error:
            known = {"codec": name, "state": "cannot be loaded", "remedy": str(error), "shown": True}
            rows.append([known.get(column) for column in columns])
            continue
        for rate in sorted(family.rates, key=lambda r: family.rates[r]):
            bitrate = family.rates[rate]
            card = family.info(rate) if isinstance(family, Described) else CodecInfo(code_license=family.license)
            state = family.availability(rate)
            rows.append(
                [f"{name}@{rate}", round(bitrate, 1) if isfinite(bitrate) else None, card.sample_rate, card.frame_rate,
                 list(card.codebook_sizes), card.parameters, card.code_license or None, card.weights_license or None,
                 card.weights or None, card.causal, state.code, state.remedy or None,
                 card.listed, card.output_rate, card.variable, card.continuous, card.extra_bits,
                 None if card.depends_on is None else list(card.depends_on)]
            )  # fmt: skip
    return columns, rows


def list_metrics() -> Listing:
    """Every metric, and whether it can run here."""
    suites = metric_suites()
    rows = []
    for name in plugins.names("metric"):
        try:
            metric = plugins.load("metric", name)
        except EvalkitError as error:
            rows.append([name, "", "", "", "", "", f"cannot be loaded: {error}"])
            continue
        sets = ", ".join(suite for suite, members in suites.items() if name in members)
        better = {"up": "higher", "down": "lower", "none": "–"}[metric.direction]
        span = f"{metric.low:g} to {metric.high:g}"
        rows.append([name, metric.label, better, metric.unit, span, sets, _brief(metric)])
    return ["metric", "label", "better", "unit", "range", "sets", "state"], rows


def _brief(metric: Metric) -> str:
    """A metric's state in one line; `evalkit doctor` has the rest."""
    state = metric.availability()
    if not isinstance(metric, ModelMetric) or not (missing := metric.missing()):
        return f"{state.code}: {state.remedy}" if state.remedy else state.code
    licenses = ", ".join(dict.fromkeys(file.license for file in missing))
    extra = f"{state.remedy.splitlines()[0]}; " if state.code == "needs extra" else ""
    size = sum(file.size for file in missing)
    shown = f"about {megabytes(size)}" if size else "size not known"
    return f"{state.code}: {extra}{metric.fetch_command()} ({shown}, {licenses})"


def list_datasets() -> Listing:
    """Every dataset, and whether it is here."""
    rows: list[list[Any]] = []
    for name in plugins.names("dataset"):
        usage, license = name, ""
        try:
            loader = datasets.loader(name)
            usage, license = loader.usage or name, loader.license
            dataset = (loader.preview or loader)()
            rows.append([name, usage, len(dataset), ", ".join(dataset.languages), dataset.license, "ready"])
        except EvalkitError as error:
            rows.append([name, usage, None, "", license, str(error)])
    return ["dataset", "usage", "utterances", "languages", "license", "state"], rows


def list_suites() -> Listing:
    """Every built-in suite."""
    rows = [
        [suite.name, suite.title, list(suite.with_ceiling), list(suite.datasets), list(suite.metrics)]
        for suite in suites().values()
    ]
    return ["suite", "title", "codecs", "datasets", "metrics"], rows


def list_conditions() -> Listing:
    """Every condition with its options."""
    rows: list[list[Any]] = []
    for name in plugins.names("condition"):
        try:
            kind: type[Condition] = plugins.load("condition", name)
        except EvalkitError as error:
            rows.append([name, "", f"cannot be loaded: {error}"])
            continue
        rows.append([name, kind.usage(), kind.about])
    return ["condition", "usage", "what it does"], rows


def list_runs(folder: Path = Path("runs")) -> Listing:
    """Every run below `folder`, the newest last."""
    rows: list[list[Any]] = []
    for path in folder.rglob("run.json"):
        try:
            about = Provenance.from_json(json.loads(read_bytes(path)))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            rows.append([str(path.parent), "cannot be read", [], "", None, [], ""])
            continue
        metrics = [name for name, info in about.metrics.items() if not info.of]
        names = list(about.codecs)
        rows.append([str(path.parent), about.state, names, about.dataset.name, about.dataset.n, metrics, about.started])
    return ["run", "state", "codecs", "dataset", "utterances", "metrics", "started"], sorted(
        rows, key=lambda row: row[-1]
    )


LISTINGS: dict[str, Callable[[], Listing]] = {
    "codecs": list_codecs,
    "metrics": list_metrics,
    "datasets": list_datasets,
    "suites": list_suites,
    "conditions": list_conditions,
    "runs": list_runs,
}

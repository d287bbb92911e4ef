"""What there is: codecs, metrics and datasets, each with its state."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from evalkit import datasets, plugins
from evalkit.codecs import CodecFamily, CodecInfo, Described
from evalkit.environment.downloads import megabytes
from evalkit.errors import EvalkitError
from evalkit.metrics.base import Metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.suites import metric_suites

Listing = tuple[list[str], list[list[Any]]]
"""Column names and rows."""


def list_codecs() -> Listing:
    """Every codec at every rate; None where nobody says."""
    columns = [
        "codec", "bit/s", "sample_rate", "frame_rate", "codebook_sizes", "parameters", "code_license",
        "weights_license", "weights", "causal", "state", "remedy", "shown",
    ]  # fmt: skip
    rows: list[list[Any]] = []
    for name in plugins.names("codec"):
        try:
            family: CodecFamily = plugins.load("codec", name)
        except EvalkitError as error:
            rows.append([name, *[None] * (len(columns) - 4), "cannot be loaded", str(error), True])
            continue
        for rate in sorted(family.rates, key=lambda r: family.rates[r]):
            bitrate = family.rates[rate]
            card = family.info(rate) if isinstance(family, Described) else CodecInfo(code_license=family.license)
            state = family.availability(rate)
            rows.append(
                [f"{name}@{rate}", round(bitrate, 1) if isfinite(bitrate) else None, card.sample_rate, card.frame_rate,
                 list(card.codebook_sizes), card.parameters, card.code_license or None, card.weights_license or None,
                 card.weights or None, card.causal, state.code, state.remedy or None,
                 card.listed]
            )  # fmt: skip
    return columns, rows


def show_codecs(listing: Listing) -> tuple[list[str], list[list[str]], list[str]]:
    """The listing for people: columns, cells and, below the table, what to do about codecs that are not ready."""
    rows: list[list[str]] = []
    remedies: dict[str, str] = {}
    hidden: dict[str, int] = {}
    for row in listing[1]:
        one = dict(zip(listing[0], row, strict=True))
        name = one["codec"].partition("@")[0]
        if not one["shown"]:
            hidden[name] = hidden.get(name, 0) + 1
            continue
        if one["state"] == "needs download":
            remedies["needs download"] = (
                "`evalkit fetch CODEC`, or --weights PATH; --json has files, revisions, licenses"
            )
        elif one["remedy"]:
            remedies.setdefault(f"{name}: {one['state']}", one["remedy"])
        rows.append(
            [one["codec"], _number(one["bit/s"]), _number(one["sample_rate"] and one["sample_rate"] / 1000),
             _number(one["frame_rate"]), _books(one["codebook_sizes"] or []),
             f"{one['parameters'] / 1e6:.1f}M" if one["parameters"] else "–", one["code_license"] or "–",
             one["weights_license"] or "–", {True: "yes", False: "no", None: "–"}[one["causal"]], one["state"]]
        )  # fmt: skip
    notes = [f"{what}: {remedy}" for what, remedy in remedies.items()]
    notes += [f"{name}: {count} more rates, with --json" for name, count in hidden.items()]
    columns = ["codec", "bit/s", "kHz", "frames/s", "codebooks", "params", "code", "weights", "causal", "state"]
    return columns, rows, notes


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _books(sizes: Sequence[int]) -> str:
    """`8 x 2048`, or all sizes where they differ."""
    if len(set(sizes)) == 1:
        return f"{len(sizes)} x {sizes[0]}"
    return ", ".join(map(str, sizes)) or "–"


def list_metrics() -> Listing:
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
    rows: list[list[Any]] = []
    for name in plugins.names("dataset"):
        usage, license = name, ""
        try:
            loader = datasets.loader(name)
            usage, license = loader.usage or name, loader.license
            dataset = loader()
            rows.append([name, usage, len(dataset), ", ".join(dataset.languages), dataset.license, "ready"])
        except EvalkitError as error:
            rows.append([name, usage, None, "", license, str(error)])
    return ["dataset", "usage", "utterances", "languages", "license", "state"], rows


LISTINGS: dict[str, Callable[[], Listing]] = {
    "codecs": list_codecs,
    "metrics": list_metrics,
    "datasets": list_datasets,
}

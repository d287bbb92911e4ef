"""Named sets: of metrics (configs/metrics.yaml, what `--metrics` means), and of codecs, data and metrics together
(configs/suites/*.yaml, or a file of the user's: what `--suite` means)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml

from evalkit import plugins
from evalkit.codecs import Availability
from evalkit.errors import EvalkitError, MissingError, UsageError, choose_from
from evalkit.files import expanded, read_bytes
from evalkit.metrics.base import Metric
from evalkit.metrics.load import load_metric
from evalkit.schema import Document, read_document

AVAILABLE = "available"
"""Among --metrics: leave out what cannot run here."""
CEILING = "pcm"
"""What every suite runs beside its codecs: the original itself, which says how high each metric goes on these data."""


def metric_suites() -> dict[str, list[str]]:
    """Every named set and its metrics."""
    suites: dict[str, list[str]] = yaml.safe_load(files("evalkit.configs").joinpath("metrics.yaml").read_text("utf-8"))
    return suites


def expand_metrics(wanted: Sequence[str]) -> tuple[str, ...]:
    """Metric names, once each, for a list of metrics (with or without options, `sqmos:reference=clean.wav`), sets and
    "all"; raises UsageError for an unknown name or option. The word "available" is for `available_metrics`."""
    suites = metric_suites() | {"all": plugins.names("metric")}
    known = plugins.names("metric")
    names: list[str] = []
    for word in wanted:
        if word == AVAILABLE:
            continue
        if plugins.split_file(word)[0]:
            names.append(_from_file(word))
            continue
        if word not in suites and word.partition(":")[0] not in known:
            raise choose_from("metric", word, [*known, *suites])
        names += suites.get(word, [word])
    if not names:
        raise UsageError("no metric is named: write --metrics NAME,… (`evalkit list metrics` lists them)")
    for name in names:
        load_metric(name)
    return tuple(dict.fromkeys(names))


def _from_file(spec: str) -> str:
    """The name of the metric that `FILE.py:NAME` names, which is registered under it."""
    metric = plugins.load("metric", spec)
    if not isinstance(metric, Metric):
        raise UsageError(f"{spec} is not a metric: it must be an instance of a class of evalkit.metrics.base")
    return use_metric(metric)


def use_metric(metric: Metric) -> str:
    """Make `metric`, an object of this process, known; returns its name. Raises UsageError where an installed metric
    has that name."""
    if metric.name in plugins.installed("metric"):
        raise UsageError(f"a given metric has the name of an installed one, {metric.name}: rename it")
    plugins.register("metric", metric.name, metric)
    load_metric.cache_clear()
    return metric.name


def available_metrics(
    wanted: Sequence[str], languages: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, Availability]]:
    """Metric names for a list of words, less what cannot run here where that is wanted.

    Args:
        wanted: As for `expand_metrics`, and perhaps the word "available".
        languages: Of the speech, ISO 639-1.

    Returns:
        The names, and, with "available", what was left out and what it lacks.

    Raises:
        UsageError: An unknown name or option.
        MissingError: Nothing is left.
    """
    names = expand_metrics(wanted)
    if AVAILABLE not in wanted:
        return names, {}
    left_out = {name: state for name in names if not (state := load_metric(name).availability(languages)).ready}
    if left_out and len(left_out) == len(names):
        raise MissingError("none of these metrics can run here yet:\n" + missing_lines(left_out))
    return tuple(name for name in names if name not in left_out), left_out


def missing_lines(states: Mapping[str, Availability]) -> str:
    """What each metric lacks, for a message."""
    lines = []
    for name, state in states.items():
        first, *rest = state.remedy.splitlines()
        lines += [f"  {name}: {state.code}", f"    {first}", *(f"    {line}" for line in rest)]
    return "\n".join(lines)


@dataclass(frozen=True)
class Suite:
    """A comparison: which codecs to run over which data, and what to measure."""

    name: str
    title: str
    codecs: tuple[str, ...]
    """Without the original, which always runs too (`with_ceiling`)."""
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    """Single metrics and, perhaps, the word "available"."""
    conditions: tuple[str, ...] = ()
    """What every codec is measured under; clean where none is named."""
    also: tuple[str, ...] = ()
    """Rows that belong to the comparison under another name than their codec's on the command line."""
    document: Document = field(default_factory=lambda: Document("", {}), compare=False)
    """Where it was read, for messages."""

    @property
    def with_ceiling(self) -> tuple[str, ...]:
        """The codecs and, last, the original."""
        runs = any(codec.partition("@")[0] == CEILING for codec in self.codecs)
        return self.codecs if runs else (*self.codecs, CEILING)

    def check(self, available: bool = False, weights: Sequence[str] = (), rendered: Sequence[str] = ()) -> None:
        """Raises MissingError that lists all that the suite needs and this installation lacks: metrics, data, codecs;
        with `available`, metrics may be missing. `weights` and `rendered` are those of the command line."""
        from evalkit.datasets import load_dataset
        from evalkit.environment.needs import Need, codec_need, dataset_need, metric_need, report
        from evalkit.pipeline.choice import assign, choose

        def absent(text: str) -> str:
            place = self.document.where(text)
            return "not in this installation" + (f" ({place})" if place else "")

        choices, codecs = [], []
        for spec in self.codecs:
            try:
                choices.append(choose(spec))
            except UsageError:
                codecs.append(Need(f"codec {spec}", absent(spec)))
            except MissingError as error:
                codecs.append(Need(f"codec {spec}", "cannot be loaded", advice=str(error)))
        for choice in assign(assign(choices, weights, "--weights"), rendered, "--rendered"):
            if not choice.availability().ready and (need := codec_need(choice.family, choice.rate)):
                codecs.append(need)
        datasets, metrics = [], []
        languages: set[str] = set()
        for name in self.datasets:
            try:
                languages |= set(load_dataset(name).languages)
            except EvalkitError as error:
                datasets.append(dataset_need(name, str(error)))
        for name in self.metrics:
            if name == AVAILABLE or plugins.split_file(name)[0]:
                continue
            if name.partition(":")[0] not in plugins.names("metric"):
                metrics.append(Need(f"metric {name}", absent(name)))
            elif not available and (need := metric_need(name, load_metric(name), sorted(languages))):
                metrics.append(need)
        if lacking := [*codecs, *metrics, *datasets]:
            raise MissingError(f"the suite {self.name} cannot run here yet. Missing:\n{report(lacking)}")


def suites() -> dict[str, Suite]:
    """Every built-in suite by name."""
    paths = sorted(files("evalkit.configs").joinpath("suites").iterdir(), key=lambda path: path.name)
    found = (read_suite(path.read_text(encoding="utf-8"), path.name) for path in paths)
    return {suite.name: suite for suite in found}


def read_suite(text: str, file: str) -> Suite:
    """The suite that `text`, the content of `file`, describes; raises UsageError that names the line where it does
    not follow configs/suite.schema.json."""
    schema = json.loads(files("evalkit.configs").joinpath("suite.schema.json").read_text(encoding="utf-8"))
    document = read_document(text, file, schema)
    about = document.content
    sets = metric_suites()
    metrics = dict.fromkeys(name for word in about["metrics"] for name in sets.get(word, [word]))
    return Suite(
        Path(file).stem, about["title"], tuple(about["codecs"]), tuple(about["datasets"]), tuple(metrics),
        tuple(about.get("conditions", ())), tuple(about.get("also", ())), document,
    )  # fmt: skip


def load_suite(name: str) -> Suite:
    """The built-in suite `name`, or the one in the file of that name; raises UsageError that lists those there are."""
    if name.endswith((".yaml", ".yml")):
        path = expanded(name)
        try:
            return read_suite(read_bytes(path).decode("utf-8-sig"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read as a suite: {error}") from error
    known = suites()
    if name not in known:
        raise choose_from("suite", name, list(known))
    return known[name]

"""Named sets of metrics (configs/metrics.yaml) and what `--metrics` means."""

from collections.abc import Sequence
from importlib.resources import files

import yaml

from evalkit import plugins
from evalkit.errors import choose_from


def metric_suites() -> dict[str, list[str]]:
    """Every named set and its metrics."""
    suites: dict[str, list[str]] = yaml.safe_load(files("evalkit.configs").joinpath("metrics.yaml").read_text())
    return suites


def expand_metrics(wanted: Sequence[str]) -> tuple[str, ...]:
    """Metric names, once each, for a list of metrics, sets and "all"; raises UsageError for an unknown name."""
    suites = metric_suites() | {"all": plugins.names("metric")}
    known = plugins.names("metric")
    names: list[str] = []
    for word in wanted:
        if word not in suites and word not in known:
            raise choose_from("metric", word, [*known, *suites])
        names += suites.get(word, [word])
    return tuple(dict.fromkeys(names))

"""From the name of a metric, with or without options, to the metric: `pesq-wb`, `sqmos:reference=clean.wav`."""

from collections.abc import Sequence
from functools import cache

from evalkit import plugins
from evalkit.environment.contained import opening
from evalkit.errors import UsageError
from evalkit.files import is_text
from evalkit.metrics.base import Metric, PairMetric
from evalkit.metrics.model import ModelMetric
from evalkit.soundfiles import HIGHEST_RATE, LOWEST_RATE


@cache
def load_metric(spec: str) -> Metric:
    """The metric that `spec` names, `NAME[:OPTION=VALUE…]`, whose own name is then `spec`.

    Raises:
        UsageError: An unknown name or option.
        MissingError: The package behind it cannot be imported.
    """
    name, argument, options = plugins.split_spec(spec)
    metric: Metric = plugins.load("metric", name)
    if argument is not None:
        raise UsageError(f"metric {spec!r}: {argument!r} is not KEY=VALUE. Write NAME:KEY=VALUE")
    with opening(f"metric {spec!r} cannot be loaded"):
        if not isinstance(metric, Metric):
            raise UsageError(f"{spec} is not a metric: it must be an instance of a class of evalkit.metrics.base")
        _require_sense(metric)
        return metric.configured(spec, options) if options else metric


def _require_sense(metric: Metric) -> None:
    """Raise UsageError where what the class of `metric` says of it cannot be: the rest is checked when it is made."""
    for what, kept in {
        "rows": isinstance(metric.rows, tuple) and all(map(is_text, metric.rows)) and metric.rows[0] == metric.name,
        "rate": isinstance(metric.rate, int) and LOWEST_RATE <= metric.rate <= HIGHEST_RATE,
        "max_seconds": isinstance(metric.max_seconds, int | float) and metric.max_seconds > 0,
        "imports": isinstance(metric.imports, tuple) and all(map(is_text, metric.imports)),
        "note": isinstance(metric.note, str),
        **{what: isinstance(getattr(metric, what), bool) for what in ("ranks", "skewed", "uses_reference")},
    }.items():
        if not kept:
            raise UsageError(f"metric {metric.name}: {what} cannot be {getattr(metric, what)!r}")
    if len(set(metric.rows)) < len(metric.rows):
        raise UsageError(f"metric {metric.name}: rows names one twice: {metric.rows!r}")


def model_metric(name: str) -> ModelMetric:
    """The metric `name`, which holds a model."""
    metric = load_metric(name)
    assert isinstance(metric, ModelMetric)
    return metric


def pair_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that score pairs of waveforms and hold no model."""
    return tuple(name for name in names if isinstance(load_metric(name), PairMetric))


def model_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that hold a model."""
    return tuple(name for name in names if isinstance(load_metric(name), ModelMetric))

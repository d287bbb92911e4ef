"""From the name of a metric, with or without options, to the metric: `pesq-wb`, `sqmos:reference=clean.wav`."""

from collections.abc import Sequence
from functools import cache

from evalkit import plugins
from evalkit.errors import UsageError
from evalkit.metrics.base import Metric, PairMetric
from evalkit.metrics.model import ModelMetric


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
    return metric.configured(spec, options) if options else metric


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

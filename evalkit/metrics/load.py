"""From the name of a metric, with or without options, to the metric: `pesq-wb`, `sqmos:reference=clean.wav`."""

from functools import cache

from evalkit import plugins
from evalkit.errors import UsageError
from evalkit.metrics.base import Metric


@cache
def load_metric(spec: str) -> Metric:
    """The metric that `spec` names, whose own name is then `spec`.

    Raises UsageError for an unknown name or option, MissingError where the package behind it cannot be imported.
    """
    name, argument, options = plugins.split_spec(spec)
    metric: Metric = plugins.load("metric", name)
    if argument is not None:
        raise UsageError(f"metric {spec!r}: {argument!r} is not KEY=VALUE. Write NAME:KEY=VALUE")
    return metric.configured(spec, options) if options else metric

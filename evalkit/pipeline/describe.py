"""What a run's provenance says of this machine, its metrics and its data."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from evalkit.audio import RESAMPLER
from evalkit.cache import content_key
from evalkit.datasets.base import Dataset
from evalkit.environment.contained import opening
from evalkit.environment.machine import describe_machine
from evalkit.metrics.base import SCORE_RATE
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.results.provenance import DatasetInfo, MetricInfo, Provenance
from evalkit.stats import DEFAULTS


def describe_run(metrics: Iterable[str], **more: Any) -> Provenance:
    """Provenance of a run that starts now; `more` are the fields that only the caller knows."""
    return Provenance(
        **describe_machine(),
        score_rate=SCORE_RATE,
        resampler=RESAMPLER,
        intervals=DEFAULTS.describe(),
        metrics=describe_metrics(metrics),
        **more,
    )


def describe_metrics(names: Iterable[str]) -> dict[str, MetricInfo]:
    """What is said of each metric, and of the rows that it pools over a dataset."""
    described: dict[str, MetricInfo] = {}
    for name in names:
        with opening(f"metric {name} cannot be used"):
            metric = load_metric(name)
            said = ("label", "direction", "unit", "version", "decimals", "ranks", "note", "skewed")
            about: dict[str, Any] = {key: getattr(metric, key) for key in said}
            identity = metric.identity()
            content_key(**identity)  # raises for what is no JSON value
            if isinstance(metric, ModelMetric):
                about |= {"settings": metric.choices, "weights": identity["weights"]}
            described[name] = MetricInfo(**about)
            for row in metric.pooled_names:
                described[row] = MetricInfo(**about | {"label": f"{about['label']} corpus", "of": name})
    return described


def notes_on_weights(names: Iterable[str], languages: Sequence[str]) -> Iterator[str]:
    """A sentence for each file behind the metrics `names` of which nothing says that it is the released one."""
    metrics = [one for name in names if isinstance(one := load_metric(name), ModelMetric)]
    for file in dict.fromkeys(file for metric in metrics for file in metric.files_for(languages)):
        users = ", ".join(metric.name for metric in metrics if file in metric.files_for(languages))
        if file.replaced:
            found = f"{file} comes from a mirror and was checked against the sha256 in {file.replaced}"
            yield f"{users}: {found}, not the recorded one."
        elif not file.pinned:
            yield f"{users}: the sha256 of {file} is not recorded; run.json has that of the file used."


def describe_dataset(dataset: Dataset) -> DatasetInfo:
    """Which utterances these are, for the provenance; what names their audio follows when they were read."""
    return DatasetInfo(
        name=dataset.name,
        revision=dataset.revision or None,
        license=dataset.license,
        n=len(dataset),
        ids_sha256=dataset.ids_hash,
        selection=dict(dataset.selection),
    )

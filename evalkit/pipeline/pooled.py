"""Rows about a whole dataset: what the codes say together, and what the rows of all utterances do."""

from collections.abc import Iterator, Sequence
from math import fsum

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import CodesMetric
from evalkit.metrics.load import load_metric, model_metrics
from evalkit.results.rows import CORPUS, Coded, Row

Systems = Sequence[tuple[str, str]]
"""Codec and condition of each."""


def corpus_rows(metrics: Sequence[str], systems: Systems, dataset: str, coded: Sequence[Coded]) -> Iterator[Row]:
    """Rows of the metrics that look at all codes of a codec at once; the order of `coded` does not matter."""
    for codec, condition in systems:
        mine = sorted((c for c in coded if (c.codec, c.condition) == (codec, condition)), key=lambda c: c.utterance)
        seconds = fsum(one.seconds for one in mine)
        for name in metrics:
            metric = load_metric(name)
            if isinstance(metric, CodesMetric):
                try:
                    values: dict[str, float | None] = dict(metric.score([one.codes for one in mine], seconds))
                    reason = None
                except UndefinedScore as error:
                    values, reason = {name: None}, str(error)
                for row_name, value in values.items():
                    yield Row(codec, dataset, CORPUS, row_name, value, reason, condition=condition)


def pooled_rows(metrics: Sequence[str], systems: Systems, dataset: str, rows: Sequence[Row]) -> Iterator[Row]:
    """Rows about a whole dataset that are made from those of its utterances, such as the corpus CER."""
    for name in model_metrics(metrics):
        metric = load_metric(name)
        if not metric.pooled_names:
            continue
        for codec, condition in systems:
            found: dict[str, dict[str, float]] = {}
            for row in rows:
                one_of_it = (row.codec, row.condition) == (codec, condition) and row.metric in metric.rows
                if one_of_it and row.utterance != CORPUS and row.value is not None:
                    found.setdefault(row.utterance, {})[row.metric] = row.value
            whole = [found[u] for u in sorted(found) if len(found[u]) == len(metric.rows)]
            for row_name, value in metric.pooled(whole).items():
                yield Row(codec, dataset, CORPUS, row_name, value, condition=condition)

"""Metrics that flatter a codec: where one metric ranks it higher than every other metric does.

A model that was trained on a metric, or tuned by it, gains by that metric and not by the others. Ranks need no scale,
so metrics of any unit compare.
"""

from collections.abc import Collection, Iterator, Mapping
from statistics import median

import pandas as pd

CODECS, KINDS = 5, 3
"""Codecs, and kinds of metrics, that it takes at the least: fewer ranks say nothing."""
KIN = {"estoi": "stoi", "dwer": "wer", "cer": "wer", "dcer": "wer", "secs": "sim", "sqmos": "mos", "utmos22": "mos",
       "utmosv2": "mos", "dnsmos": "mos", "distillmos": "mos", "nisqa": "mos", "plcmos": "mos",
       "scoreq": "mos"}  # fmt: skip
"""Metrics that gain together, by the first part of their names: they do not testify for each other."""
AHEAD = 1 / 3
"""Of all codecs: by so many places a rank stands out. Metrics of different kinds differ by less anyway: by up to 2.5 of
12 on the NanoCodec authors' demo page, where nothing was tuned to a metric as far as anyone says."""


def flattered(means: pd.DataFrame, directions: Mapping[str, str]) -> Iterator[tuple[str, str, int, list[int]]]:
    """Where one metric stands alone.

    Args:
        means: A line for each codec and a column for each metric that ranks codecs.
        directions: "up" or "down" by metric.

    Yields:
        Codec, metric, its rank by that metric, and its ranks by metrics of other kinds, all from 1: every other rank is
        worse, and their median by `AHEAD` of all places or more, at least two.
    """
    whole = means.dropna(axis=1)
    if len(whole) < CODECS or len({_kind(m) for m in whole}) < KINDS:
        return
    signed = pd.DataFrame({m: whole[m] if directions[m] == "down" else -whole[m] for m in whole})
    ranks = signed.rank(method="min").astype(int)
    for codec, line in ranks.iterrows():
        for metric in ranks.columns:
            others = sorted(int(line[other]) for other in ranks.columns if _kind(other) != _kind(metric))
            if line[metric] < others[0] and median(others) - line[metric] >= max(2, AHEAD * len(whole)):
                yield str(codec), str(metric), int(line[metric]), others


def _kind(metric: str) -> str:
    name = metric.partition("-")[0]
    return KIN.get(name, name)


def notes(
    means: pd.DataFrame, directions: Mapping[str, str], labels: Mapping[str, str], trained: Collection[tuple[str, str]]
) -> Iterator[str]:
    """A sentence for each codec that one metric alone ranks high.

    Args:
        means: A line for each codec, a column for each metric.
        directions: "up" or "down", by metric.
        labels: By metric.
        trained: (codec, metric) of which that is known, and which need no sentence.

    Yields:
        Sentences.
    """
    for codec, metric, rank, others in flattered(means, directions):
        if (codec, metric) not in trained:
            span = f"{others[0]}" if others[0] == others[-1] else f"{others[0]} to {others[-1]}"
            yield (
                f"{labels[metric]} ranks {codec} {rank} of {len(means)}, metrics of other kinds rank it {span}: it "
                f"may be tuned to that metric."
            )

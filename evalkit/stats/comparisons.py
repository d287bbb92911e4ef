"""Rows to comparisons between codecs: always on the same utterances, pair by pair."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, isnan, nan

import numpy as np
import pandas as pd

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import UNKNOWN, Comparison, compare
from evalkit.stats.multiple import adjust
from evalkit.stats.summary import Settings, by_utterance


@dataclass(frozen=True)
class Question:
    """Is `a` different from `b` by `metric`? Codecs as the rows name them."""

    metric: str
    a: str
    b: str


@dataclass(frozen=True)
class Answer:
    """`comparison` is of a - b; `p_adjusted` holds for all questions that were asked together."""

    question: Question
    comparison: Comparison
    p_adjusted: float
    level: float

    @property
    def separable(self) -> bool:
        return not isnan(self.p_adjusted) and self.p_adjusted < 1 - self.level


NOTHING = Comparison(0, 0, nan, UNKNOWN, nan, nan, nan)


def compare_codecs(rows: pd.DataFrame, questions: Iterable[Question], settings: Settings) -> list[Answer]:
    """Answers to `questions` from the `rows` of one dataset, in their order.

    The test is the paired bootstrap of the mean difference, corrected over all questions; the signed-rank test stands
    beside it. A question whose codec or metric the rows do not have gets n = 0. Many questions take more resamples
    than `settings` say, since p cannot get below 1 / resamples and a correction multiplies it.
    """
    asked = list(questions)
    values, clusters = by_utterance(rows, settings.cluster)
    missing = pd.Series(np.nan, values.index)
    differences = [
        values.get((question.a, question.metric), missing) - values.get((question.b, question.metric), missing)
        for question in asked
    ]
    if not asked:
        return []
    comparisons = compare(
        np.stack(differences, 1),
        clusters,
        "percentile" if settings.interval == "percentile" else "bca",
        settings.level,
        max(settings.resamples, ceil(10 * len(asked) / (1 - settings.level))),
        settings.seed,
    )
    adjusted = adjust([comparison.p for comparison in comparisons], settings.correction)
    return [
        Answer(question, comparison, p, settings.level)
        for question, comparison, p in zip(asked, comparisons, adjusted, strict=True)
    ]


def all_pairs(codecs: Iterable[str], metrics: Iterable[str]) -> list[Question]:
    """Every two codecs, by every metric."""
    names = list(codecs)
    if len(names) < 2:
        raise UsageError(f"a comparison takes two codecs, and there is {names[0] if names else 'none'}")
    return [Question(metric, a, b) for metric in metrics for i, a in enumerate(names) for b in names[i + 1 :]]

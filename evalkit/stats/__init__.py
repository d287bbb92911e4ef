"""From rows to what can be said of them: means with intervals, paired tests, and what n utterances can show.

bootstrap.py  resampled means, their intervals, and comparisons of paired values
multiple.py   p-values that hold for a whole table: Holm, Benjamini-Hochberg
summary.py    rows to summaries
pairs.py      rows to comparisons between codecs
"""

from evalkit.stats.bootstrap import (
    LEVEL,
    MIN_UNITS,
    POWER,
    RESAMPLES,
    Comparison,
    Interval,
    compare,
    exceeds,
    mean_interval,
)
from evalkit.stats.comparisons import Answer, Question, all_pairs, compare_codecs
from evalkit.stats.multiple import CORRECTIONS, adjust
from evalkit.stats.summary import DEFAULTS, SUMMARY_COLUMNS, Settings, by_utterance, summarize

__all__ = [
    "CORRECTIONS",
    "DEFAULTS",
    "LEVEL",
    "MIN_UNITS",
    "POWER",
    "RESAMPLES",
    "SUMMARY_COLUMNS",
    "Answer",
    "Comparison",
    "Interval",
    "Question",
    "Settings",
    "adjust",
    "all_pairs",
    "by_utterance",
    "compare",
    "compare_codecs",
    "exceeds",
    "mean_interval",
    "summarize",
]

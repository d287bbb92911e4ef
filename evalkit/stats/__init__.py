"""From rows to what can be said of them: means with intervals, paired tests, and what n utterances can show.

means.py        means, their errors and intervals, over utterances or speakers
signflip.py     the permutation test of a mean by flipped signs
paired.py       tests of paired differences
multiple.py     p-values that hold for a whole table: Holm, Benjamini-Hochberg
summary.py      rows to summaries
comparisons.py  rows to comparisons between codecs
calibration.py  how often all this errs where the truth is known: `python -m evalkit.stats.calibration`
"""

from evalkit.stats.comparisons import Comparison, ComparisonRequest, all_pairs, compare_codecs
from evalkit.stats.means import LEVEL, MIN_UNITS, RELIABLE, Interval, mean_interval
from evalkit.stats.multiple import CORRECTIONS, adjust, multiplier
from evalkit.stats.paired import POWER, PairedTest, compare, exceeds
from evalkit.stats.signflip import RESAMPLES, resamples_for, units_needed
from evalkit.stats.summary import DEFAULTS, SUMMARY_COLUMNS, Settings, by_utterance, summarize

__all__ = [
    "CORRECTIONS",
    "DEFAULTS",
    "LEVEL",
    "MIN_UNITS",
    "POWER",
    "RELIABLE",
    "RESAMPLES",
    "SUMMARY_COLUMNS",
    "Comparison",
    "ComparisonRequest",
    "Interval",
    "PairedTest",
    "Settings",
    "adjust",
    "all_pairs",
    "by_utterance",
    "compare",
    "compare_codecs",
    "exceeds",
    "mean_interval",
    "multiplier",
    "resamples_for",
    "summarize",
    "units_needed",
]

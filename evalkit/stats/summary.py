"""From rows to summaries: means that always carry their n, their n_failed and their interval."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from evalkit.errors import UsageError
from evalkit.stats.means import LEVEL, Clusters, mean_interval
from evalkit.stats.multiple import Correction
from evalkit.stats.signflip import RESAMPLES, SEED

KEYS = ["codec", "dataset", "condition", "metric"]
SUMMARY_COLUMNS = (*KEYS, "n", "n_failed", "mean", "ci_low", "ci_high", "std", "min", "max")


@dataclass(frozen=True)
class Settings:
    """How means and differences are judged. `cluster` names the column of the rows whose values were drawn together,
    such as "speaker", or two of them, "listener,item"; None takes utterances. Tests flip the signs of at least
    `resamples` patterns, drawn by `seed`."""

    interval: Literal["t", "none"] = "t"
    cluster: str | None = None
    correction: Correction = "holm"
    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = SEED

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `cluster` names."""
        return tuple(self.cluster.split(",")) if self.cluster else ()

    @property
    def units(self) -> str:
        """What was drawn, in words."""
        return " or ".join(f"{column}s" for column in self.columns) or "utterances"

    @property
    def _by(self) -> str:
        return f", clustered by {' and '.join(self.columns)}" if self.cluster else ""

    def describe(self) -> str:
        """In words, for notes beneath tables."""
        what = {"t": "t interval, corrected for skewness", "none": "no interval"}[self.interval]
        return f"{self.level:.0%} {what}{self._by}"

    def describe_tests(self, comparisons: int, what: str = "comparisons") -> str:
        """In words, for notes beneath tables with tests.

        Args:
            comparisons: How many p-values were corrected together.
            what: What they are called.

        Returns:
            One clause.
        """
        corrected = {"holm": "Holm", "bh": "Benjamini-Hochberg", "none": "not corrected"}[self.correction]
        return f"paired sign-flip and t tests{self._by}; {corrected} over {comparisons} {what}"


DEFAULTS = Settings()


def summarize(rows: pd.DataFrame, settings: Settings = DEFAULTS) -> pd.DataFrame:
    """One line for each codec, dataset, condition and metric, in the order in which they come in `rows`.

    n counts values, n_failed rows without one; the other columns are over the n values and null where n is 0. `std` is
    the sample standard deviation; `ci_low` and `ci_high` bound the mean as `settings` say, and are null below
    MIN_UNITS values. Rows about a whole dataset (utterance "*") have n = 1.

    Args:
        rows: As in rows.parquet.
        settings: Which intervals, and of what.

    Returns:
        A DataFrame with SUMMARY_COLUMNS.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(SUMMARY_COLUMNS))
    groups = rows.groupby(KEYS, sort=False)["value"]
    summary = groups.agg(n="count", size="size", mean="mean", std="std", min="min", max="max")
    summary["n_failed"] = summary["size"] - summary["n"]
    summary[["ci_low", "ci_high"]] = np.nan
    if settings.interval != "none":
        for (dataset, condition), part in rows.groupby(["dataset", "condition"], sort=False):
            values, clusters = by_utterance(part, settings.cluster)
            found = mean_interval(values, clusters, settings.level)
            index = [(codec, dataset, condition, metric) for codec, metric in values.columns]
            summary.loc[index, ["ci_low", "ci_high"]] = [[interval.low, interval.high] for interval in found]
    return summary.reset_index()[list(SUMMARY_COLUMNS)]


def by_utterance(rows: pd.DataFrame, cluster: str | None = None) -> tuple[pd.DataFrame, Clusters]:
    """Rows as a table.

    Args:
        rows: Of one dataset and condition.
        cluster: The column that names what was drawn together, or two with a comma between; None for utterances.

    Returns:
        The values, with a line for each utterance and a column for each (codec, metric), NaN where there is none; and
        each line's cluster, or two of them.

    Raises:
        UsageError: A cluster is asked for that the rows do not name, or an utterance has two of them.
    """
    values = rows.pivot(index="utterance", columns=["codec", "metric"], values="value")
    names = cluster.split(",") if cluster else []
    if len(names) > 2:
        raise UsageError(f"rows can be clustered by one column or by two, not by {cluster}")
    sides = [_clusters(rows, name, values.index) for name in names]
    if not sides:
        return values, None
    return values, sides[0] if len(sides) == 1 else list(zip(*sides, strict=True))


def _clusters(rows: pd.DataFrame, cluster: str, utterances: "pd.Index[str]") -> list[str]:
    if cluster not in rows or rows[cluster].isna().all():
        raise UsageError(f"the column {cluster!r} is empty, so the rows cannot be clustered by it")
    named = rows[["utterance", cluster]].dropna().drop_duplicates()
    if named["utterance"].duplicated().any():
        raise UsageError(f"an utterance has more than one {cluster!r}, so the rows cannot be clustered by it")
    # An utterance without one, such as the pooled rows, is a cluster of its own.
    clusters = named.set_index("utterance")[cluster].reindex(utterances)
    return [str(u) if pd.isna(c) else str(c) for u, c in clusters.items()]

"""From rows to summaries: means that always carry their n and n_failed."""

import pandas as pd

SUMMARY_COLUMNS = ("codec", "dataset", "metric", "n", "n_failed", "mean", "std", "min", "max")


def summarize(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each codec, dataset and metric, in the order in which they come in `rows`.

    n counts values, n_failed rows without one; the other columns are over the n values and null where n is 0. `std` is
    the sample standard deviation. Rows about a whole dataset (utterance "*") have n = 1.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(SUMMARY_COLUMNS))
    groups = rows.groupby(["codec", "dataset", "metric"], sort=False)["value"]
    summary = groups.agg(n="count", size="size", mean="mean", std="std", min="min", max="max").reset_index()
    summary["n_failed"] = summary["size"] - summary["n"]
    return summary[list(SUMMARY_COLUMNS)]

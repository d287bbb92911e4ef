"""The utterances that say most in a listening test: those on which metrics see the systems furthest apart."""

from collections.abc import Collection, Sequence

import pandas as pd

from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS


def disagreement(rows: pd.DataFrame, codecs: Sequence[str], metrics: Collection[str]) -> "pd.Series[float]":
    """How far apart `codecs` are on each utterance, the furthest first.

    Each metric's values are divided by their standard deviation over all codecs and utterances; an utterance has the
    standard deviation between codecs, averaged over metrics.

    Args:
        rows: Of one dataset and condition.
        codecs: Two or more.
        metrics: Those that rank codecs.

    Raises:
        UsageError: No utterance has a value of every codec by one of the metrics.
    """
    kept = rows[rows["codec"].isin(codecs) & rows["metric"].isin(metrics) & (rows["utterance"] != CORPUS)]
    values = kept.pivot(index="utterance", columns=["metric", "codec"], values="value")
    spreads = {}
    for metric in values.columns.get_level_values("metric").unique():
        table = values[metric].reindex(columns=list(codecs)).dropna()
        if len(table) and (scale := float(table.stack().std())) > 0:
            spreads[metric] = table.std(axis=1) / scale
    if not spreads:
        raise UsageError(f"no utterance has values of {', '.join(codecs)} by {', '.join(metrics) or 'any metric'}")
    spread = pd.DataFrame(spreads).mean(axis=1).rename_axis("utterance").reset_index(name="spread")
    return spread.sort_values(["spread", "utterance"], ascending=[False, True]).set_index("utterance")["spread"]


def choose_items(spread: "pd.Series[float]", languages: "pd.Series[str]", count: int) -> list[str]:
    """`count` utterances: the first of each language, then the second of each, and so on, languages in the order of
    their furthest utterance; all of them where there are fewer.

    Args:
        spread: As `disagreement` gives it.
        languages: Of each utterance; "" where none is known.
        count: How many.

    Raises:
        UsageError: There are more languages than `count`.
    """
    ordered = pd.DataFrame({"spread": spread, "language": languages.reindex(spread.index).fillna("")})
    number = ordered["language"].nunique()
    if number > count:
        raise UsageError(
            f"the run has {number} languages: {count} items cannot cover them. Use --items {number} or more"
        )
    ordered["turn"] = ordered.groupby("language").cumcount()
    return [str(one) for one in ordered.sort_values("turn", kind="stable").index[:count]]

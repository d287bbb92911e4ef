"""One table a dataset: codecs as rows, metrics as columns; beside each mean its interval, n and failures, and whether
it can be told apart from the best.

A metric that does not rank codecs (SI-SDR) is shown without a best, and a codec that was trained on a metric is shown
with a mark there: neither is tested, nor counted among the comparisons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import isnan
from typing import Any

import pandas as pd

from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS, by_condition
from evalkit.results.run import Run
from evalkit.stats import (
    DEFAULTS,
    MIN_UNITS,
    POWER,
    RELIABLE,
    Comparison,
    ComparisonRequest,
    Interval,
    Settings,
    compare_codecs,
    multiplier,
    summarize,
    units_needed,
)

from . import outliers
from .cells import ARROWS, MISSING, TIE, Cell, Column, Table, interval_cell
from .identity import check_runs

TRAINED = "†"
"""Marks values of a codec by a metric that it was trained on."""


def join(runs: Sequence[Run], apart: bool = True) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of runs as one table. Numbers that are not comparable are never joined.

    Args:
        runs: What to read.
        apart: Whether rows under a condition count as a dataset of their own, `NAME (CONDITION)`: only what was done
            alike is compared.

    Returns:
        The rows; and what the runs say of their metrics, in the order in which they were asked for.

    Raises:
        UsageError: Runs disagree about a metric's version, a dataset's revision or its audio, a codec comes twice on
            one dataset, or there are no rows.
    """
    described = _described(runs)
    check_runs(runs)
    rows = pd.concat([by_condition(run.rows, "dataset") if apart else run.rows for run in runs], ignore_index=True)
    if rows.empty:
        raise UsageError("there are no rows yet: the run stopped before the first utterance was scored")
    for (codec, dataset), count in _sources(runs).items():
        if count > 1:
            raise UsageError(f"{codec} on {dataset} is in {count} of these runs: give only one of them")
    return rows, described


def ranks(name: str, about: Mapping[str, Any]) -> bool:
    """Whether codecs are ranked by a metric; older runs do not say.

    Args:
        name: Of the metric.
        about: What a run says of it.

    Returns:
        False if neither direction is better, or if it does not rank codecs.
    """
    return about["direction"] != "none" and bool(about.get("ranks", _base(name) != "si-sdr"))


def skewed(described: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The metrics whose values are strongly skewed: error rates; older runs do not say."""
    return [m for m, about in described.items() if about.get("skewed", m.partition("-")[0] in ("cer", "dcer", "wer"))]


def trained_on(runs: Sequence[Run]) -> set[tuple[str, str]]:
    """(codec, metric) of codecs that were trained on a metric, as the runs say."""
    return {
        (codec, metric)
        for run in runs
        for codec, about in run.provenance.get("codecs", {}).items()
        for trained in about.get("trained_on_metrics", ())
        for metric in run.provenance["metrics"]
        if _base(metric) == trained
    }


def _base(metric: str) -> str:
    """A metric's name without the options of the command line."""
    return metric.partition(":")[0]


def build_tables(
    runs: Sequence[Run],
    metrics: Sequence[str] | None = None,
    settings: Settings = DEFAULTS,
    codecs: Sequence[str] | None = None,
) -> list[Table]:
    """Means of codecs, with their intervals and what cannot be told from the best.

    Args:
        runs: What to read.
        metrics: Which columns, in this order; by default all.
        settings: How differences are judged.
        codecs: Which rows, in this order; by default all.

    Returns:
        A table for each dataset.

    Raises:
        UsageError: As `join`, and for metrics and codecs that no run has.
    """
    rows, described = join(runs)
    if codecs is not None:
        absent = [codec for codec in codecs if codec not in set(rows["codec"])]
        if absent:
            raise UsageError(f"no run has the codec(s) {', '.join(absent)}")
        rows = pd.concat([rows[rows["codec"] == codec] for codec in codecs], ignore_index=True)
    present = list(dict.fromkeys(rows.loc[rows["utterance"] != CORPUS, "metric"]))
    corpus = [m for m in dict.fromkeys(rows.loc[rows["utterance"] == CORPUS, "metric"]) if m in described]
    shown = [name for name in described if name in (*present, *corpus)]
    if metrics is not None:
        absent = [name for name in metrics if name not in shown]
        if absent:
            raise UsageError(f"no run has the metric(s) {', '.join(absent)}. There are: {', '.join(shown)}.")
        shown = list(metrics)
    notes = _notes(runs)
    trained = trained_on(runs)
    return [
        _table(str(name), part, shown, described, trained, settings, notes)
        for name, part in rows.groupby("dataset", sort=False)
    ]


def _table(
    dataset: str,
    rows: pd.DataFrame,
    metrics: Sequence[str],
    described: dict[str, Any],
    trained: set[tuple[str, str]],
    settings: Settings,
    notes: tuple[str, ...],
) -> Table:
    means = summarize(rows, settings).set_index(["codec", "metric"])
    scored = [m for m in metrics if m != "bitrate"]
    columns = [Column("codec", "Codec", words=True), Column("kbps", "kbit/s")]
    ranking = [m for m in scored if ranks(m, described[m])]
    originals = {str(codec) for codec in rows["codec"].unique() if str(codec).partition("@")[0] == "pcm"}
    columns += [Column(m, described[m]["label"], ARROWS[described[m]["direction"]], True) for m in scored]
    columns += [Column("n", "n"), Column("failed", "failed")]
    unranked_pairs = trained | {(codec, m) for codec in originals for m in scored}
    best = {m: _best(means, m, described[m]["direction"], unranked_pairs) for m in ranking}
    comparisons = _compare(rows, ranking, described, unranked_pairs, settings)
    with_best = {pair: c for c in comparisons for pair in _against(c.request, best[c.request.metric])}
    tied = {pair for pair, c in with_best.items() if not c.significant}
    lines = []
    for codec, part in rows.groupby("codec", sort=False):
        utterances = part[part["utterance"] != CORPUS]
        n = utterances["utterance"].nunique()
        failed = utterances.loc[utterances["value"].isna(), "utterance"].nunique()
        cells = [Cell(str(codec)), _bitrate(means, str(codec), utterances)]
        for m in scored:
            cell = _cell(means, str(codec), m, described[m]["decimals"], n, best.get(m))
            if (codec, m) in trained and cell.value is not None:
                cell = replace(cell, text=cell.text + TRAINED, best=False)
            if codec in originals:
                cell = replace(cell, best=False)
            cells.append(replace(cell, tied=(codec, m) in tied and not cell.best))
        lines.append((*cells, Cell(str(n), n), Cell(str(failed), failed)))
    unranked = [described[m] for m in scored if described[m]["direction"] != "none" and m not in ranking]
    notes = (
        *_statistics_notes(lines, comparisons, list(with_best.values()), described, settings),
        *_small_n(rows, scored, settings),
        *_not_ranked(lines, unranked),
        *_flattered(means, ranking, described, trained, originals),
        *(f"{codec}: the original itself, each metric's upper limit; not ranked." for codec in originals),
        *_unequal(rows),
        *notes,
    )
    return Table(dataset, tuple(columns), tuple(lines), notes)


def _compare(
    rows: pd.DataFrame,
    metrics: Sequence[str],
    described: Mapping[str, Any],
    trained: set[tuple[str, str]],
    settings: Settings,
) -> list[Comparison]:
    """Every two codecs of each column, as far as enough utterances have both. Only those with the best are shown, but
    which one is the best is seen after looking at all: a correction for fewer would be too small."""
    measured = rows.dropna(subset="value")[["codec", "metric"]].drop_duplicates()
    pairs = set(measured.itertuples(index=False, name=None)) - trained
    requests = [
        ComparisonRequest(metric, a, b)
        for metric in metrics
        for a, b in combinations([c for c in rows["codec"].drop_duplicates() if (c, metric) in pairs], 2)
    ]
    return [c for c in compare_codecs(rows, requests, settings, skewed(described)) if not isnan(c.test.p)]


def _against(request: ComparisonRequest, best: str | None) -> Iterator[tuple[str, str]]:
    """(codec, metric) of the one that `request` compares with the `best`, where it does."""
    if best in (request.a, request.b):
        yield request.b if best == request.a else request.a, request.metric


def _statistics_notes(
    lines: Sequence[Sequence[Cell]],
    comparisons: Sequence[Comparison],
    with_best: Sequence[Comparison],
    described: dict[str, Any],
    settings: Settings,
) -> Iterator[str]:
    if any(cell.interval for line in lines for cell in line):
        yield f"[low, high]: {settings.describe()}."
    if not comparisons:
        return
    if any(cell.tied for line in lines for cell in line):
        yield (
            f"{TIE}: statistically indistinguishable from the best of its column at this n "
            f"({settings.describe_tests(len(comparisons))})."
        )
    yield from too_few(comparisons, settings)
    yield from on_ranks(comparisons, described)
    largest: dict[str, float] = {}
    for c in with_best:
        largest[c.request.metric] = max(largest.get(c.request.metric, 0.0), c.test.detectable)
    effects = ", ".join(f"{described[m]['label']} {v:.{described[m]['decimals']}f}" for m, v in largest.items())
    yield f"Smallest difference from the best that one comparison detects with {POWER:.0%} power: {effects}."


def too_few(comparisons: Sequence[Comparison], settings: Settings) -> Iterator[str]:
    """A note where pairs are so few that no difference between them could be significant.

    Args:
        comparisons: Those that were tested together.
        settings: How they were corrected.

    Yields:
        A sentence, or none.
    """
    small = [c.test.units for c in comparisons if not c.decidable]
    if small:
        units = settings.units
        needed = units_needed(multiplier(len(comparisons), settings.correction), settings.level)
        yield (
            f"Over {max(small)} {units} or fewer, none of {len(comparisons)} comparisons can be significant, however "
            f"large the difference: that needs {needed}."
        )


def on_ranks(comparisons: Sequence[Comparison], described: Mapping[str, Any]) -> Iterator[str]:
    """A note where a difference had to be found in the ranks as well.

    Args:
        comparisons: Those that were tested together.
        described: What is said of each metric.

    Yields:
        A sentence, or none.
    """
    metrics = [m for m in dict.fromkeys(c.request.metric for c in comparisons) if m in skewed(described)]
    if metrics:
        labels = ", ".join(str(described[m]["label"]) for m in metrics)
        yield f"{labels}: strongly skewed, so a difference counts only if the signed-rank test finds it too."


def _small_n(rows: pd.DataFrame, metrics: Sequence[str], settings: Settings) -> Iterator[str]:
    """A note where intervals are missing, or hold only for values that are close to symmetric."""
    if settings.interval == "none":
        return
    counted = rows[rows["metric"].isin(metrics) & (rows["utterance"] != CORPUS)].dropna(subset="value")
    units = counted.groupby(["codec", "metric"])[list(settings.columns or ("utterance",))].nunique().min(axis=1)
    what = settings.units
    if (units < MIN_UNITS).any():
        yield f"Means over fewer than {MIN_UNITS} {what} have no interval and no test."
    if ((units >= MIN_UNITS) & (units < RELIABLE)).any():
        yield f"Intervals over fewer than {RELIABLE} {what} are reliable only for nearly symmetric values."


def _flattered(
    means: pd.DataFrame,
    ranking: Sequence[str],
    described: Mapping[str, Any],
    trained: set[tuple[str, str]],
    originals: set[str],
) -> Iterator[str]:
    """A note for each codec that one metric alone ranks high."""
    values = means["mean"].unstack("metric").reindex(columns=list(ranking)).drop(index=list(originals))
    directions = {m: str(described[m]["direction"]) for m in ranking}
    yield from outliers.notes(values, directions, {m: str(described[m]["label"]) for m in ranking}, trained)


def _not_ranked(lines: Sequence[Sequence[Cell]], unranked: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if unranked:
        yield f"{', '.join(about['label'] for about in unranked)}: shown but not used to rank codecs."
        yield from dict.fromkeys(about["note"] for about in unranked if about.get("note"))
    if any(TRAINED in cell.text for line in lines for cell in line):
        yield (
            f"{TRAINED}: the codec was trained on this metric, which therefore overrates it: not ranked, not compared."
        )


def _unequal(rows: pd.DataFrame) -> Iterator[str]:
    """A warning where codecs were not run on the same utterances."""
    utterances = rows[rows["utterance"] != CORPUS]
    sets = {frozenset(part) for _, part in utterances.groupby("codec")["utterance"]}
    if len(sets) > 1:
        shared = len(frozenset.intersection(*sets))
        yield (
            f"The codecs were not run on the same utterances: only {shared} are shared by all. Means are not "
            "comparable; tests use the utterances that each pair shares."
        )


def _bitrate(means: pd.DataFrame, codec: str, utterances: pd.DataFrame) -> Cell:
    """Measured over the whole dataset where the run has it, else the mean of what a manifest declared."""
    if (codec, "bitrate") in means.index:
        kbps = float(means.at[(codec, "bitrate"), "mean"]) / 1000
    else:
        kbps = float(utterances["bitrate_kbps"].mean())
    return Cell(MISSING) if isnan(kbps) else Cell(f"{kbps:.3f}" if kbps < 100 else f"{kbps:.0f}", kbps)


def _cell(means: pd.DataFrame, codec: str, metric: str, decimals: int, n: int, best: str | None) -> Cell:
    if (codec, metric) not in means.index or isnan(float(means.at[(codec, metric), "mean"])):
        return Cell(MISSING)
    summary = means.loc[(codec, metric)]
    interval = Interval(float(summary["ci_low"]), float(summary["ci_high"]))
    cell = interval_cell(float(summary["mean"]), interval, f".{decimals}f")
    # What prints alike is alike: it shares the bold.
    top = None if best is None else float(means.at[(best, metric), "mean"])
    is_best = top is not None and cell.text == f"{top:.{decimals}f}"
    over_fewer = summary["n_failed"] and summary["n"] < n
    text = f"{cell.text} (n={int(summary['n'])})" if over_fewer else cell.text
    return replace(cell, text=text, best=is_best)


def _best(means: pd.DataFrame, metric: str, direction: str, trained: set[tuple[str, str]]) -> str | None:
    """The codec with the best mean; None where there is nobody to be better than."""
    if metric not in means.index.levels[1]:
        return None
    values = means.xs(metric, level="metric")["mean"].dropna()
    values = values[[(codec, metric) not in trained for codec in values.index]]
    if len(values) < 2:
        return None
    return str(values.idxmax() if direction == "up" else values.idxmin())


def _described(runs: Sequence[Run]) -> dict[str, Any]:
    """What the runs say of their metrics, in the order in which they were asked for."""
    described: dict[str, Any] = {}
    for run in runs:
        for name, about in run.provenance["metrics"].items():
            for what in ("version", "settings", "weights"):
                before, now = described.get(name, about).get(what) or None, about.get(what) or None
                if before != now:
                    raise UsageError(
                        f"{name} has {what} {before!r} in one run and {now!r} in {run.path}: run one of them again "
                        "before you compare them"
                    )
            described[name] = about
    return described


def _sources(runs: Sequence[Run]) -> dict[tuple[str, str], int]:
    """In how many runs each codec and dataset come."""
    counts: dict[tuple[str, str], int] = {}
    for run in runs:
        for key in (
            by_condition(run.rows, "dataset")[["codec", "dataset"]].drop_duplicates().itertuples(index=False, name=None)
        ):
            counts[key] = counts.get(key, 0) + 1
    return counts


def _notes(runs: Sequence[Run]) -> tuple[str, ...]:
    notes = [
        f"{run.path}: {run.provenance['state']}, so the table is incomplete"
        for run in runs
        if run.provenance["state"] != "finished"
    ]
    notes += dict.fromkeys(note for run in runs for note in run.provenance.get("notes", ()))
    resamplers = sorted({str(run.provenance.get("resampler")) for run in runs})
    if len(resamplers) > 1:
        notes.append(f"The runs were resampled by {' and by '.join(resamplers)}: small differences may come from that.")
    return tuple(notes)

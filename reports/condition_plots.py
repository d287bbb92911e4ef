"""Figures of runs under conditions: quality over a level that was varied, and over all conditions."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.results.rows import CLEAN
from evalkit.stats import Settings, summarize

from . import escape
from .figures import HEIGHT, axis_label, family, looks, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LEVEL = re.compile(
    r"(?P<kind>[^:]+):(?P<option>[^=,]+)=(?P<level>-?[0-9]{1,9}(?:\.[0-9]*)?(?:e[-+]?[0-9]{1,2})?)(?P<rest>,.*)?$"
)
"""A condition whose first option is a number."""
NEUTRAL = {("tandem", "n"): 1.0, ("loss", "percent"): 0.0, ("bit-errors", "rate"): 0.0, ("gain", "db"): 0.0}
"""Levels at which nothing is done: clean rows stand there."""
UNITS = {
    "snr": "signal-to-noise ratio (dB)", "n": "generation", "percent": "lost frames (%)", "rate": "bit error rate",
    "db": "level (dB)", "samples": "shift (samples)", "factor": "speed", "rt60": "reverberation time (s)",
    "seconds": "seconds",
}  # fmt: skip


def sweeps(conditions: Sequence[str]) -> dict[str, dict[float, str]]:
    """Conditions that differ in the level of their first option alone: level -> condition, by what they share, such as
    `noise:snr,type=babble`; clean stands where it is a level of the kind."""
    found: dict[str, dict[float, str]] = {}
    for condition in conditions:
        if match := LEVEL.fullmatch(condition):
            name = f"{match['kind']}:{match['option']}{match['rest'] or ''}"
            found.setdefault(name, {})[float(match["level"])] = condition
    for name, levels in found.items():
        kind, _, option = name.partition(",")[0].partition(":")
        if CLEAN in conditions and (kind, option) in NEUTRAL:
            levels.setdefault(NEUTRAL[kind, option], CLEAN)
    return {name: dict(sorted(levels.items())) for name, levels in found.items() if len(levels) > 1}


def condition_plots(
    dataset: str, rows: pd.DataFrame, described: Mapping[str, Any], settings: Settings, width: float
) -> Iterator[tuple[str, "Figure"]]:
    """Figures of what conditions do to codecs.

    Args:
        dataset: Its name.
        rows: Of that dataset, with their conditions.
        described: What is said of each metric.
        settings: Of the intervals.
        width: Inches.

    Yields:
        File name without suffix, and figure: for each metric with a better end a curve for every level that was varied,
        and one figure of all conditions.
    """
    conditions = list(rows["condition"].drop_duplicates())
    if conditions == [CLEAN]:
        return
    for metric, about in described.items():
        values = rows[rows["metric"] == metric].dropna(subset="value")
        values = values[values["codec"].map(family) != "pcm"]  # the original stays at the top of every axis
        if about["direction"] == "none" or values.empty:
            continue
        stem = f"{dataset}-{metric}"
        for name, levels in sweeps(list(values["condition"].drop_duplicates())).items():
            yield (
                escape.file_name(f"{stem}-{re.sub('[:,=]', '-', name)}"),
                over_level(values, name, levels, about, settings, width),
            )
        yield escape.file_name(f"{stem}-conditions"), over_conditions(values, about, settings, width)


def over_level(
    rows: pd.DataFrame, name: str, levels: Mapping[float, str], about: Mapping[str, Any], settings: Settings,
    width: float,
) -> "Figure":  # fmt: skip
    """A line with its interval for each codec, over the levels of a sweep.

    Args:
        rows: Of one dataset and metric.
        name: Of the sweep.
        levels: Level -> condition.
        about: What is said of the metric.
        settings: Of the intervals.
        width: Inches.

    Returns:
        The figure.
    """
    figure, axes = new_figure(width, HEIGHT)
    summary = summarize(rows, settings).set_index(["codec", "condition"])
    codecs = list(rows["codec"].drop_duplicates())
    look = looks(codecs)
    words = []
    for codec in codecs:
        x = np.array([level for level, condition in levels.items() if (codec, condition) in summary.index])
        if not len(x):
            continue
        lines = summary.loc[[(codec, levels[level]) for level in x]]
        mean = lines["mean"].to_numpy(float)
        low, high = (lines[bound].fillna(lines["mean"]).to_numpy(float) for bound in ("ci_low", "ci_high"))
        colour, marker = look[codec]
        style = ["-", "--", ":", "-."][[c for c in codecs if look[c] == look[codec]].index(codec) % 4]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, mean, style, color=colour, marker=marker, markersize=3, label=escape.plot(codec))
        digits = about["decimals"]
        words.append(f"{codec} " + ", ".join(f"{m:.{digits}f} at {level:g}" for level, m in zip(x, mean, strict=True)))
    option = name.partition(",")[0].partition(":")[2]
    if option == "rate" and min(levels) > 0:
        axes.set_xscale("log")
    if all(level == int(level) for level in levels) and len(levels) <= 10:
        axes.set_xticks(list(levels), [f"{level:g}" for level in levels])
    axes.set_xlabel(UNITS.get(option) or escape.plot(option))
    axes.set_ylabel(axis_label(about))
    below = ceil(len(codecs) / max(1, floor(width / 1.6)))
    figure.set_figheight(HEIGHT + 0.16 * below)
    figure.legend(loc="outside lower center", ncols=ceil(len(codecs) / below), frameon=False, fontsize=7)
    figure.set_label(f"{about['label']} over {name}, mean and {settings.level:.0%} interval: {'; '.join(words)}")
    return figure


def over_conditions(rows: pd.DataFrame, about: Mapping[str, Any], settings: Settings, width: float) -> "Figure":
    """A row for each condition, in it the mean of each codec with its interval.

    Args:
        rows: Of one dataset and metric.
        about: What is said of the metric.
        settings: Of the intervals.
        width: Inches.

    Returns:
        The figure.
    """
    conditions = list(rows["condition"].drop_duplicates())
    codecs = list(rows["codec"].drop_duplicates())
    figure, axes = new_figure(width, 0.8 + 0.2 * len(conditions) + 0.16 * len(codecs))
    summary = summarize(rows, settings).set_index(["codec", "condition"])
    look = looks(codecs)
    words = []
    for position, codec in enumerate(codecs):
        found = [(row, summary.loc[(codec, c)]) for row, c in enumerate(conditions) if (codec, c) in summary.index]
        mean = np.array([line["mean"] for _, line in found], float)
        errors = np.nan_to_num([[m - line["ci_low"] for m, (_, line) in zip(mean, found, strict=True)],
                                [line["ci_high"] - m for m, (_, line) in zip(mean, found, strict=True)]])  # fmt: skip
        y = np.array([row for row, _ in found]) + (position - (len(codecs) - 1) / 2) * 0.6 / len(codecs)
        colour, marker = look[codec]
        axes.errorbar(
            mean, y, xerr=errors, fmt=marker, color=colour, markersize=3, elinewidth=0.8, capsize=1.5,
            label=escape.plot(codec),
        )  # fmt: skip
        digits = about["decimals"]
        words.append(f"{codec} " + ", ".join(f"{conditions[row]} {line['mean']:.{digits}f}" for row, line in found))
    axes.set_yticks(range(len(conditions)), list(map(escape.plot, conditions)))
    axes.invert_yaxis()
    axes.set_xlabel(axis_label(about))
    figure.legend(loc="outside lower center", ncols=max(1, floor(width / 1.9)), frameon=False, fontsize=7)
    figure.set_label(
        f"{about['label']} under each condition, mean and {settings.level:.0%} interval: {'; '.join(words)}"
    )
    return figure

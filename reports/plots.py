"""Figures of runs: quality over bitrate with intervals, means by language, distributions of scores, spectrograms.

Each function makes a matplotlib Figure from rows, sized for one or both columns of a paper and without a title, since a
paper has captions; `save_plots` writes them all as files, the same bytes every time. What a figure shows, in words, is
its label (`figure.get_label()`).
"""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.audio import Audio
from evalkit.metrics.base import SCORE_RATE
from evalkit.metrics.mel import hann, mel_filters
from evalkit.results.rows import CLEAN, CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings, summarize

from . import escape
from .condition_plots import condition_plots
from .figures import HEIGHT, SIZES, STYLE, axis_label, family, looks, new_figure
from .table import join

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 2000
"""Dots beyond which a vector drawing holds them as an image."""

_PATH = re.compile(rb' d="[^"]*"')
_DIGITS = re.compile(rb"(\.\d\d)\d+")
"""What of a coordinate in a path nobody sees: beyond a hundredth of a point. Outlines of letters are half a drawing."""

_UNSIGNED: Any = {"Software": None}
"""PNG metadata without the version of matplotlib, which would make equal pictures differ."""


def save_plots(
    runs: Sequence[Run],
    folder: Path,
    suffix: str = "svg",
    settings: Settings = DEFAULTS,
    size: str = "one",
    title: bool = False,
) -> list[Path]:
    """Write every figure of `runs`.

    Args:
        runs: What to draw.
        folder: Where to, made where it is not there.
        suffix: svg, png or pdf.
        settings: How means and intervals are computed.
        size: A key of SIZES.
        title: Whether each figure says above it what it shows.

    Returns:
        The files that were written, rate and quality of the first metric first.
    """
    return save_figures(all_plots(runs, settings, size), folder, suffix, title)


def save_figures(
    figures: Iterable[tuple[str, "Figure"]], folder: Path, suffix: str = "svg", title: bool = False
) -> list[Path]:
    """Write figures.

    Args:
        figures: File name without suffix, and figure.
        folder: Where to; made if need be.
        suffix: svg, pdf or png.
        title: Whether figures get their file names as titles.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures:
        if title:
            figure.suptitle(escape.plot(str(figure.get_label()).partition(":")[0]), fontsize=8)
        path = folder / f"{name}.{suffix}"
        path.write_bytes(render(figure, suffix))
        written.append(path)
    return written


def all_plots(runs: Sequence[Run], settings: Settings = DEFAULTS, size: str = "one") -> Iterator[tuple[str, "Figure"]]:
    """Every figure of some runs.

    Args:
        runs: What to read.
        settings: Of the intervals.
        size: A key of SIZES.

    Yields:
        File name without suffix, and figure, for each dataset and metric with a better end: of clean audio, then of the
        conditions.
    """
    rows, described = join(runs, apart=False)
    width = SIZES[size]
    for dataset, whole in rows.groupby("dataset", sort=False):
        clean = whole[whole["condition"] == CLEAN]
        rated = bitrates(clean)
        part = clean[clean["utterance"] != CORPUS].dropna(subset="value")
        for metric, about in described.items():
            values = part[part["metric"] == metric]
            if about["direction"] == "none" or values.empty:
                continue
            stem = escape.file_name(f"{dataset}-{metric}")
            yield f"{stem}-rate", rate_quality(values, rated, about, settings, width)
            if values["language"].nunique() > 1:
                yield f"{stem}-languages", by_language(values, rated, about, settings, width)
            yield f"{stem}-distribution", distributions(values, rated, about, width)
        yield from condition_plots(str(dataset), whole[whole["utterance"] != CORPUS], described, settings, width)


def bitrates(rows: pd.DataFrame) -> dict[str, float]:
    """kbit/s of each codec, in the order of the rows, which is that of every table and figure: as measured over the
    dataset, else the mean of what was declared."""
    means = rows[rows["utterance"] != CORPUS].groupby("codec")["bitrate_kbps"].mean()
    measured = rows[(rows["metric"] == "bitrate") & (rows["utterance"] == CORPUS)].set_index("codec")["value"] / 1000
    found = measured.dropna().combine_first(means)
    return {str(codec): float(found.get(codec, np.nan)) for codec in rows["codec"].drop_duplicates()}


def rate_quality(
    rows: pd.DataFrame,
    rated: dict[str, float],
    about: dict[str, Any],
    settings: Settings,
    width: float = SIZES["one"],
    over: tuple[str, str] = ("bitrate", "kbit/s"),
) -> "Figure":
    """Mean with its interval over the bitrate.

    Args:
        rows: Of one dataset and metric.
        rated: kbit/s by codec; those without a number are left out, those that share one stand apart.
        about: What is said of the metric.
        settings: Of the intervals.
        width: Inches.
        over: What `rated` holds, and its unit.

    Returns:
        The figure.
    """
    figure, axes = new_figure(width, HEIGHT)
    summary = summarize(rows, settings).set_index("codec")
    shown = [codec for codec in rated if codec in summary.index and 0 < rated[codec] < np.inf]  # NaN is neither
    look = looks(shown)
    points: dict[str, tuple[float, float]] = {}
    bars = []
    for codec in shown:
        twins = [other for other in shown if round(rated[other], 2) == round(rated[codec], 2)]
        x = rated[codec] * 1.018 ** (twins.index(codec) - (len(twins) - 1) / 2)
        line = summary.loc[codec]
        errors = np.nan_to_num([[line["mean"] - line["ci_low"]], [line["ci_high"] - line["mean"]]])
        colour, marker = look[codec]
        axes.errorbar(x, line["mean"], yerr=errors, fmt=marker, color=colour, capsize=2, markersize=4, elinewidth=0.8)
        points[codec] = (x, float(line["mean"]))
        bars.append((x, *np.nan_to_num([line["ci_low"], line["ci_high"]], nan=line["mean"])))
    axes.set_xscale("log")
    rates = [x for x, _ in points.values()]
    if rates:
        ticks = _ticks(min(rates), max(rates))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel(f"{over[0]} ({over[1]})")
    axes.set_ylabel(axis_label(about))
    _name_points(figure, axes, points, bars, {codec: look[codec][0] for codec in shown})
    digits = about["decimals"]
    found = "; ".join(f"{codec} {y:.{digits}f} at {rated[codec]:.3g} {over[1]}" for codec, (_, y) in points.items())
    figure.set_label(f"{about['label']} over {over[0]}, mean and {settings.level:.0%} interval: {found}")
    return figure


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between `low` and `high`, for a logarithmic axis."""
    decades = range(floor(log10(low)) - 1, ceil(log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)):
        found = [round(step * 10.0**decade, 6) for decade in decades for step in steps]
        inside = [tick for tick in found if low * 0.95 <= tick <= high * 1.05]
        if len(inside) >= 3:
            return inside
    return [round(low, 3), round(high, 3)] if high > low * 1.05 else [round(low, 3)]


def _name_points(
    figure: "Figure",
    axes: "Axes",
    points: dict[str, tuple[float, float]],
    bars: Sequence[tuple[float, float, float]],
    colours: dict[str, str],
) -> None:
    """Write each codec's name beside its point, where it covers neither names nor points nor `bars` (x, low, high)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import Bbox

    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # sets the scales that positions depend on
    half = 3 * figure.dpi / 72  # of a marker
    taken = []
    for x, low, high in bars:
        (left, below), (right, above) = axes.transData.transform([(x, low), (x, high)])
        taken.append(Bbox([[left - half, below - half], [right + half, above + half]]))
    frame = axes.get_window_extent(canvas.get_renderer())
    for codec, (x, y) in points.items():
        text = axes.annotate(
            escape.plot(codec), (x, y), xytext=(0, 0), textcoords="offset points", fontsize=6, color=colours[codec],
            path_effects=[withStroke(linewidth=2, foreground="white")], zorder=5, annotation_clip=False,
        )  # fmt: skip
        text.set_in_layout(False)
        found = []
        for distance in (5, 9, 14, 20, 28):
            for dx, dy, align in ((1, 0.4, "left"), (1, -0.4, "left"), (-1, 0.4, "right"), (-1, -0.4, "right"),
                                  (0, 1, "center"), (0, -1, "center")):  # fmt: skip
                text.set_position((dx * distance, dy * distance))
                text.set(ha=align, va="center")
                box = text.get_window_extent(canvas.get_renderer())
                outside = max(0.0, frame.x0 - box.x0) + max(0.0, box.x1 - frame.x1)
                outside += max(0.0, frame.y0 - box.y0) + max(0.0, box.y1 - frame.y1)
                covered = sum(_shared(box, other) for other in taken)
                found.append((covered + outside * box.height, distance, dx, dy, align, box))
        _, distance, dx, dy, align, box = min(found, key=lambda one: (round(one[0]), one[1]))
        text.set_position((dx * distance, dy * distance))
        text.set(ha=align)
        taken.append(box)
        if distance > 9:  # far from its point: a line says whose name it is
            axes.annotate(
                "", (x, y), xytext=(dx * distance, dy * distance), textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": colours[codec], "linewidth": 0.4},
            ).set_in_layout(False)  # fmt: skip


def _shared(one: Any, other: Any) -> float:
    """Area that two boxes share."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def by_language(
    rows: pd.DataFrame, rated: dict[str, float], about: dict[str, Any], settings: Settings, width: float = SIZES["one"]
) -> "Figure":
    """A group of bars for each language, a bar for each codec, with intervals where there are enough utterances.

    Args:
        rows: Of one dataset and metric.
        rated: The codecs, in their order.
        about: What is said of the metric.
        settings: Of the intervals.
        width: Inches.

    Returns:
        The figure.
    """
    codecs = [codec for codec in rated if codec in set(rows["codec"])]
    languages = sorted(rows["language"].dropna().unique())
    summary = summarize(rows.assign(dataset=rows["language"]), settings).set_index(["codec", "dataset"])
    below = ceil(len(codecs) / max(1, floor(width / 1.6)))
    figure, axes = new_figure(width, HEIGHT + 0.16 * below)
    bar = 0.85 / len(codecs)
    look = looks(codecs)
    bars = []
    for position, codec in enumerate(codecs):
        line = summary.loc[codec].reindex(languages)
        errors = np.abs(line[["ci_low", "ci_high"]].to_numpy(float).T - line["mean"].to_numpy(float))
        members = [c for c in codecs if family(c) == family(codec)]
        bars.append(axes.bar(
            np.arange(len(languages)) + (position - (len(codecs) - 1) / 2) * bar, line["mean"], bar * 0.92,
            yerr=np.nan_to_num(errors), color=look[codec][0], error_kw={"elinewidth": 0.6},
            alpha=1 - 0.6 * members.index(codec) / max(1, len(members)),
        ))  # fmt: skip
    counts = rows.groupby("language")["utterance"].nunique()
    names = [f"{escape.plot(language)}\nn = {counts[language]}" for language in languages]
    axes.set_xticks(range(len(languages)), names)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(axis_label(about))
    columns = ceil(len(codecs) / below)
    handles: Any = bars
    legend = figure.legend(
        handles, [" "] * len(bars), loc="outside lower center", ncols=columns, frameon=False, fontsize=7,
        handlelength=1.2,
    )  # fmt: skip
    for text, codec in zip(legend.get_texts(), codecs, strict=True):  # by hand: a label that begins with _ is left out
        text.set_text(escape.plot(codec))
    digits = about["decimals"]
    means = summary["mean"]
    found = "; ".join(
        f"{codec} " + ", ".join(f"{lang} {means.get((codec, lang), np.nan):.{digits}f}" for lang in languages)
        for codec in codecs
    )
    figure.set_label(f"{about['label']} by language, mean and {settings.level:.0%} interval: {found}")
    return figure


def distributions(
    rows: pd.DataFrame, rated: dict[str, float], about: dict[str, Any], width: float = SIZES["one"]
) -> "Figure":
    """Every utterance as a dot, with the quartiles as a box, for each codec.

    Args:
        rows: Of one dataset and metric.
        rated: The codecs, in their order.
        about: What is said of the metric.
        width: Inches.

    Returns:
        The figure.
    """
    codecs = [codec for codec in rated if codec in set(rows["codec"])]
    figure, axes = new_figure(width, 0.6 + 0.24 * len(codecs))
    look = looks(codecs)
    rng = np.random.default_rng(0)
    medians = []
    for position, codec in enumerate(codecs):
        values = rows.loc[rows["codec"] == codec, "value"].to_numpy()
        axes.scatter(
            values, position + rng.uniform(-0.2, 0.2, len(values)), s=3, color=look[codec][0], alpha=0.5, linewidths=0,
            rasterized=len(rows) > MANY,
        )  # fmt: skip
        axes.boxplot(
            values, positions=[position], orientation="horizontal", widths=0.55, showfliers=False,
            medianprops={"color": "#222222"}, boxprops={"linewidth": 0.7}, whiskerprops={"linewidth": 0.7},
        )  # fmt: skip
        medians.append(f"{codec} {np.median(values):.{about['decimals']}f}")
    axes.set_yticks(range(len(codecs)), list(map(escape.plot, codecs)))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(axis_label(about))
    figure.set_label(f"{about['label']} of each utterance, with medians: {'; '.join(medians)}")
    return figure


def spectrogram(audio: Audio, columns: int = 240, bands: int = 64) -> bytes:
    """A mel spectrogram up to 8 kHz, over a range of 70 dB.

    Args:
        audio: Of any rate.
        columns: Pixels across.
        bands: Pixels up.

    Returns:
        A PNG.
    """
    from matplotlib.image import imsave

    wav, n_fft = audio.at(SCORE_RATE).wav, 1024
    padded = np.pad(wav, n_fft // 2)
    hop = max(1, (len(padded) - n_fft) // (columns - 1))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop][:columns]
    mel = np.abs(np.fft.rfft(frames * hann(n_fft, True))) @ mel_filters(n_fft, bands, False)  # [columns, bands]
    decibels = 20 * np.log10(np.maximum(mel, 1e-5))
    out = io.BytesIO()
    imsave(out, decibels.T[::-1], vmin=-40, vmax=30, cmap="magma", format="png", metadata=_UNSIGNED)
    return out.getvalue()


def render(figure: "Figure", suffix: str, transparent: bool = False) -> bytes:
    """A figure as a file's content, without a date in it.

    Args:
        figure: The figure.
        suffix: svg, pdf or png.
        transparent: Whether to leave the paper to whoever shows it.

    Returns:
        The content.
    """
    import matplotlib

    out = io.BytesIO()
    dateless: Any = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, _UNSIGNED)
    with matplotlib.rc_context(STYLE):
        figure.savefig(
            out, format=suffix, dpi=200, metadata=dateless, transparent=transparent,
        )  # fmt: skip
    return _PATH.sub(lambda path: _DIGITS.sub(rb"\1", path[0]), out.getvalue()) if suffix == "svg" else out.getvalue()

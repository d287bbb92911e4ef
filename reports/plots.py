"""Pictures of runs: quality over bitrate with intervals, means by language, distributions of scores, spectrograms.

Each function makes a matplotlib Figure from rows; `save_plots` writes them all as files, the same bytes every time.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.audio import Audio
from evalkit.metrics.base import SCORE_RATE
from evalkit.metrics.mel import hann, mel_filters
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings, summarize

from .table import ARROWS, join

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#555555")
"""Okabe and Ito's colours, told apart by colour-blind readers; one for each family of codecs."""

_UNSIGNED: Any = {"Software": None}
"""PNG metadata without the version of matplotlib, which would make equal pictures differ."""

_STYLE: Any = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "svg.hashsalt": "evalkit",
}


def save_plots(runs: Sequence[Run], folder: Path, suffix: str = "svg", settings: Settings = DEFAULTS) -> list[Path]:
    """Write every plot of `runs` into `folder` as svg, png or pdf; the files that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in all_plots(runs, settings):
        path = folder / f"{name}.{suffix}"
        path.write_bytes(render(figure, suffix))
        written.append(path)
    return written


def all_plots(runs: Sequence[Run], settings: Settings = DEFAULTS) -> Iterator[tuple[str, "Figure"]]:
    """(file name without suffix, figure) for each dataset and metric with a better end."""
    rows, described = join(runs)
    for dataset, part in rows.groupby("dataset", sort=False):
        rated = bitrates(part)
        part = part[part["utterance"] != CORPUS].dropna(subset="value")
        for metric, about in described.items():
            values = part[part["metric"] == metric]
            if about["direction"] == "none" or values.empty:
                continue
            stem = "".join(c if c.isalnum() or c in "-." else "_" for c in f"{dataset}-{metric}")
            yield f"{stem}-rate", rate_quality(values, rated, about, settings)
            if values["language"].nunique() > 1:
                yield f"{stem}-languages", by_language(values, rated, about, settings)
            yield f"{stem}-distribution", distributions(values, rated, about)


def bitrates(rows: pd.DataFrame) -> dict[str, float]:
    """kbit/s of each codec, lowest first: as measured over the dataset, else the mean of what was declared."""
    means = rows[rows["utterance"] != CORPUS].groupby("codec")["bitrate_kbps"].mean()
    measured = rows[(rows["metric"] == "bitrate") & (rows["utterance"] == CORPUS)].set_index("codec")["value"] / 1000
    found = measured.dropna().combine_first(means)
    return {str(codec): float(found.get(codec, np.nan)) for codec in found.sort_values(na_position="last").index}


def family(codec: str) -> str:
    """What shares a colour: the name before the rate."""
    return codec.partition("@")[0]


def colours(codecs: Sequence[str]) -> dict[str, str]:
    families = sorted({family(codec) for codec in codecs})
    return {codec: PALETTE[families.index(family(codec)) % len(PALETTE)] for codec in codecs}


def rate_quality(rows: pd.DataFrame, rated: dict[str, float], about: dict[str, Any], settings: Settings) -> "Figure":
    """Mean with its interval over kbit/s; codecs without a bitrate are left out, those that share one stand apart."""
    from matplotlib.patheffects import withStroke

    figure, axes = _figure(6.4, 4.2)
    summary = summarize(rows, settings).set_index("codec")
    shown = [codec for codec in rated if codec in summary.index and not np.isnan(rated[codec])]
    shades = colours(shown)
    for position, codec in enumerate(shown):
        twins = [other for other in shown if round(rated[other], 2) == round(rated[codec], 2)]
        x = rated[codec] * 1.018 ** (twins.index(codec) - (len(twins) - 1) / 2)
        line = summary.loc[codec]
        errors = np.nan_to_num([[line["mean"] - line["ci_low"]], [line["ci_high"] - line["mean"]]])
        axes.errorbar(x, line["mean"], yerr=errors, fmt="o", color=shades[codec], capsize=3, markersize=5)
        axes.annotate(
            codec, (x, line["mean"]), xytext=(6, 5 if position % 2 else -10), textcoords="offset points", fontsize=7,
            color=shades[codec], path_effects=[withStroke(linewidth=2.5, foreground="white")], zorder=5,
        )  # fmt: skip
    axes.set_xscale("log")
    ticks = sorted({round(rated[codec], 2) for codec in shown})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=45, ha="right")
    axes.minorticks_off()
    axes.margins(x=0.14)
    axes.set_xlabel("kbit/s (logarithmic)")
    axes.set_ylabel(_label(about))
    axes.set_title(f"{about['label']} over bitrate, mean and {settings.level:.0%} interval", fontsize=9, loc="left")
    return figure


def by_language(rows: pd.DataFrame, rated: dict[str, float], about: dict[str, Any], settings: Settings) -> "Figure":
    """A group of bars for each language, a bar for each codec, with intervals where there are enough utterances."""
    codecs = [codec for codec in rated if codec in set(rows["codec"])]
    languages = sorted(rows["language"].dropna().unique())
    summary = summarize(rows.assign(dataset=rows["language"]), settings).set_index(["codec", "dataset"])
    figure, axes = _figure(max(6.4, 0.09 * len(languages) * (len(codecs) + 2)), 3.8)
    width = 0.85 / len(codecs)
    shades = colours(codecs)
    for position, codec in enumerate(codecs):
        line = summary.loc[codec].reindex(languages)
        errors = np.abs(line[["ci_low", "ci_high"]].to_numpy(float).T - line["mean"].to_numpy(float))
        members = [c for c in codecs if family(c) == family(codec)]
        axes.bar(
            np.arange(len(languages)) + (position - (len(codecs) - 1) / 2) * width, line["mean"], width * 0.92,
            yerr=np.nan_to_num(errors), label=codec, color=shades[codec],
            alpha=1 - 0.6 * members.index(codec) / max(1, len(members)), error_kw={"elinewidth": 0.8},
        )  # fmt: skip
    counts = rows.groupby("language")["utterance"].nunique()
    axes.set_xticks(range(len(languages)), [f"{language}\nn = {counts[language]}" for language in languages])
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(_label(about))
    axes.set_title(f"{about['label']} by language", fontsize=9, loc="left")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def distributions(rows: pd.DataFrame, rated: dict[str, float], about: dict[str, Any]) -> "Figure":
    """Every utterance as a dot, with the quartiles as a box, for each codec."""
    codecs = [codec for codec in rated if codec in set(rows["codec"])][::-1]
    figure, axes = _figure(6.4, 0.8 + 0.34 * len(codecs))
    shades = colours(codecs)
    rng = np.random.default_rng(0)
    for position, codec in enumerate(codecs):
        values = rows.loc[rows["codec"] == codec, "value"].to_numpy()
        axes.scatter(
            values, position + rng.uniform(-0.2, 0.2, len(values)), s=6, color=shades[codec], alpha=0.5, linewidths=0
        )
        axes.boxplot(
            values, positions=[position], orientation="horizontal", widths=0.55, showfliers=False,
            medianprops={"color": "#222222"}, boxprops={"linewidth": 0.8}, whiskerprops={"linewidth": 0.8},
        )  # fmt: skip
    axes.set_yticks(range(len(codecs)), codecs)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(_label(about))
    axes.set_title(f"{about['label']}, each utterance a dot", fontsize=9, loc="left")
    return figure


def spectrogram(audio: Audio, columns: int = 240, bands: int = 64) -> bytes:
    """A PNG of the mel spectrogram of `audio` up to 8 kHz, `columns` wide and `bands` high, over a range of 70 dB."""
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


def render(figure: "Figure", suffix: str) -> bytes:
    """`figure` as a file's content, without a date in it."""
    import matplotlib

    out = io.BytesIO()
    dateless: Any = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, _UNSIGNED)
    with matplotlib.rc_context(_STYLE):
        figure.savefig(out, format=suffix, dpi=150, metadata=dateless, bbox_inches="tight")
    return out.getvalue()


def _figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    """A figure that no window system knows of, in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _label(about: dict[str, Any]) -> str:
    unit = f" ({about['unit']})" if about.get("unit") else ""
    return f"{about['label']} {ARROWS[about['direction']]}{unit}".strip()

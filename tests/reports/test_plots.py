"""Figures: the right numbers, the same bytes every time, and what a publisher asks of them."""

import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evalkit.audio import Audio
from evalkit.reports.figures import MARKERS, SIZES
from evalkit.reports.plots import _ticks, all_plots, bitrates, render, save_plots, spectrogram
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import Settings

from .conftest import CODECS, RATE


@pytest.fixture
def run(run_with_audio: Run) -> Run:
    return run_with_audio


def test_plots_of_every_metric_with_a_better_end(run: Run) -> None:
    figures = dict(all_plots([run]))
    assert list(figures) == [f"set-{m}-{p}" for m in ("pesq-wb", "mel") for p in ("rate", "languages", "distribution")]
    (axes,) = figures["set-pesq-wb-rate"].axes
    points = sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() in MARKERS)  # type: ignore[index]
    assert points == pytest.approx([1.22, 6.02, 12.02]), "the measured bitrate, not the declared one"
    assert {text.get_text() for text in axes.texts} == set(CODECS)
    (axes,) = figures["set-pesq-wb-languages"].axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["de\nn = 6", "en\nn = 6"]


def test_bitrates_are_declared_where_none_was_measured(run: Run) -> None:
    rows = run.rows[run.rows["utterance"] != CORPUS]
    assert bitrates(rows) == pytest.approx({"codec<2>@1.2k": 1.2, "opus@6k": 6.0, "opus@12k": 12.0})


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_same_rows_give_the_same_pictures(suffix: str, run: Run) -> None:
    one, two = (render(next(figure for _, figure in all_plots([run])), suffix) for _ in range(2))
    assert one == two


def test_a_spectrogram_shows_a_tone_where_it_is() -> None:
    import io

    from matplotlib.image import imread

    tone = np.sin(2 * np.pi * 2000 * np.arange(RATE) / RATE).astype(np.float32)
    picture = imread(io.BytesIO(spectrogram(Audio(tone, RATE), columns=100, bands=64)))
    brightness = picture[:, 50, :3].sum(axis=-1)
    assert picture.shape[0] == 64 and 90 <= picture.shape[1] <= 100
    # 2000 Hz is Slaney's mel 25.08 of 45.25 (8 kHz); row 0 is the highest band.
    assert abs(int(np.argmax(brightness)) - (63 - round(64 * 25.08 / 45.25))) <= 1


@pytest.mark.parametrize("size", SIZES)
def test_figures_have_the_width_of_columns_and_no_title(size: str, run: Run) -> None:
    for name, figure in all_plots([run], size=size):
        assert figure.get_figwidth() == SIZES[size]
        assert not figure.get_suptitle() and not any(axes.get_title() for axes in figure.axes)
        assert all(f"{codec} " in str(figure.get_label()) for codec in CODECS), f"{name} says in words what it shows"


def test_fonts_are_truetype(run: Run, tmp_path: Path) -> None:
    for path in save_plots([run], tmp_path, "pdf"):
        content = path.read_bytes()
        streams = re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)
        whole = content + b"".join(zlib.decompress(s) for s in streams if s.startswith(b"x"))
        assert b"/FontFile2" in whole and b"/Type3" not in whole and b"/Type 3" not in whole


def test_names_cover_neither_each_other_nor_points(run: Run) -> None:
    """Twelve codecs side by side, in the width of one column."""
    names = [f"nanocodec@{i}.{i}k" for i in range(12)]
    parts = [run.rows[run.rows["codec"] == "opus@6k"].assign(codec=name) for name in names]
    for i, part in enumerate(parts):
        part.loc[part["metric"] == "bitrate", "value"] = 1000.0 + 40 * i
    figure = dict(all_plots([Run(run.path, pd.concat(parts), run.provenance)]))["set-pesq-wb-rate"]
    figure.savefig("/dev/null", format="png")
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts if text.get_text()]
    overlaps = sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert len(boxes) == 12 and overlaps <= 3


def test_ticks_are_round_and_few() -> None:
    assert _ticks(0.6, 1.9) == [0.6, 0.8, 1.0, 1.5] and _ticks(1.1, 24) == [2, 5, 10, 20]
    assert _ticks(0.5, 512) == [1, 10, 100] and _ticks(6.0, 6.0) == [6.0]


def test_many_dots_do_not_swell_a_drawing(run: Run) -> None:
    codec = run.rows[(run.rows["codec"] == "opus@6k") & (run.rows["metric"] == "mel")]
    many = pd.concat([codec.assign(utterance=codec["utterance"] + f"-{i}") for i in range(1000)])
    figure = dict(all_plots([Run(run.path, many, run.provenance)], Settings(interval="none")))["set-mel-distribution"]
    assert len(render(figure, "svg")) < 200_000

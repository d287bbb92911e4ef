"""A run as one HTML file: the table, plots, and players for the worst and some random utterances. It needs no network,
no server and no other file."""

import base64
import json
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from typing import Any

import pandas as pd

from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.results.run_directory import REFERENCE_FOLDER
from evalkit.stats import DEFAULTS, Settings

from .cells import TIE, Cell, Column, Table
from .listening import Example, choose, examples
from .plots import all_plots, bitrates, render
from .table import build_tables, join

WORST = 2
"""Utterances of each codec that are shown because they are its worst."""
CHANCE = 4
"""Utterances that are shown because chance chose them."""
BUDGET = 24_000_000
"""Bytes of audio and spectrograms in a page; what exceeds it is left out, and the page says so."""


def build_page(
    runs: Sequence[Run],
    title: str = "",
    metric: str | None = None,
    settings: Settings = DEFAULTS,
    worst: int = WORST,
    chance: int = CHANCE,
    budget: int = BUDGET,
) -> str:
    """The page's HTML. `metric` decides which utterances are the worst; by default the first with a better end."""
    rows, described = join(runs)
    metric = metric or next((name for name, about in described.items() if about["direction"] != "none"), None)
    if metric is None or metric not in described:
        raise UsageError(f"no run has the metric {metric}. There are: {', '.join(described)}.")
    clips: dict[str, str] = {}
    sections = []
    for table in build_tables(runs, settings=settings):
        part = rows[(rows["dataset"] == table.title) & (rows["utterance"] != CORPUS)]
        sections.append(f"<h2>{escape(table.title)}</h2>")
        sections += [_table(table), *(f"<p>{escape(note)}</p>" for note in table.notes)]
        sections += _listening(runs, part, metric, described[metric], worst, chance, budget, clips)
    sections += ["<h2>Plots</h2>", *_plots(runs, settings)]
    sections += ["<h2>Where the numbers come from</h2>", *map(_provenance, runs)]
    title = title or ", ".join(dict.fromkeys(rows["codec"]))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_file('page.css')}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *(f"<p>{_origin(run)}</p>" for run in runs),
            *sections,
            '<div id="bar" hidden><span></span>',
            '<input type="range" min="0" max="100" step="0.1" aria-label="place"></div>',
            f'<script type="application/json" id="clips">{json.dumps(clips)}</script>',
            f"<script>{_file('page.js')}</script>",
            "</body></html>",
        ]
    )


def _table(table: Table) -> str:
    heads = "".join(_head(column.head, column.words) for column in table.columns)
    body = "".join(
        "<tr>" + "".join(_cell(c, column) for c, column in zip(row, table.columns, strict=True)) + "</tr>\n"
        for row in table.rows
    )
    inner = f"<thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody>"
    return f'<div class="scroll"><table class="sortable">{inner}</table></div>'


def _head(label: str, words: bool) -> str:
    return f'<th{_words(words)} scope="col"><button type="button">{escape(label)}</button></th>'


def _cell(cell: Cell, column: Column) -> str:
    value = escape(cell.text) if column.words else "" if cell.value is None else repr(float(cell.value))
    text = f'<span class="best">{escape(cell.text)}</span>' if cell.best else escape(cell.text)
    text += f' <span class="tie" title="not separable from the best">{TIE}</span>' if cell.tied else ""
    text += f'<span class="interval">{escape(cell.interval)}</span>' if cell.interval else ""
    return f'<td{_words(column.words)} data-value="{value}">{text}</td>'


def _words(words: bool) -> str:
    return ' class="words"' if words else ""


def _listening(
    runs: Sequence[Run],
    rows: pd.DataFrame,
    metric: str,
    about: dict[str, Any],
    worst: int,
    chance: int,
    budget: int,
    clips: dict[str, str],
) -> Iterator[str]:
    """Players for one dataset's `rows`; their audio goes into `clips`."""
    yield "<h3>Listen</h3>"
    codecs = list(bitrates(rows))
    chosen = choose(rows, metric, about["direction"], worst, chance)
    found, left_out = examples(runs, codecs, chosen, budget - sum(map(len, clips.values())))
    if not found:
        yield "<p>No audio was kept with these rows: <code>evalkit run --save-audio</code> keeps it.</p>"
        return
    yield (
        f"<p>The worst {worst} of each codec by {escape(about['label'])}, and {chance} at random. A version that is "
        "chosen while another of the same utterance plays goes on at the same place. All versions of an utterance have "
        "one gain; below each, its score.</p>"
    )
    if not any(REFERENCE_FOLDER in example.clips for example in found):
        yield "<p>The originals were not kept with this run, so there is nothing to compare with by ear.</p>"
    if left_out:
        yield f"<p>Left out, since the page would grow too large: {escape(', '.join(left_out))}.</p>"
    scores = rows[rows["metric"] == metric].set_index(["codec", "utterance"])["value"]
    heads = (
        _head("Utterance", True) + f'<th scope="col">{REFERENCE_FOLDER}</th>' + "".join(_head(c, False) for c in codecs)
    )
    yield f'<div class="scroll"><table class="sortable listen"><thead><tr>{heads}</tr></thead><tbody>'
    languages = rows.drop_duplicates("utterance").set_index("utterance")["language"]
    for example in found:
        language = languages.get(example.utterance)
        tag = "" if pd.isna(language) else f" ({escape(str(language))})"
        yield (
            f'<tr><td class="words about" data-value="{escape(example.utterance)}">{escape(example.utterance)}{tag}'
            f'<span class="why">{escape(example.why)}</span></td>'
        )
        for name in (REFERENCE_FOLDER, *codecs):
            score = scores.get((name, example.utterance))
            known = score is not None and not pd.isna(score)
            text = f'<span class="score">{score:.{about["decimals"]}f}</span>' if known else ""
            value = repr(float(score)) if known else ""
            yield f'<td data-value="{value}">{_player(example, name, clips)}{text}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"


def _player(example: Example, name: str, clips: dict[str, str]) -> str:
    clip = example.clips.get(name)
    if clip is None:
        return "–"
    key = str(len(clips))
    clips[key] = clip.audio
    title = escape(f"{name}: {example.utterance}")
    return (
        f'<button type="button" class="play" aria-pressed="false" title="{title}" data-clip="{key}" '
        f'data-utterance="{escape(example.utterance)}"><img alt="mel spectrogram" src="{clip.picture}"></button>'
    )


def _plots(runs: Sequence[Run], settings: Settings) -> Iterator[str]:
    """A line of figures for each dataset and metric."""
    for _, group in groupby(all_plots(runs, settings), key=lambda named: named[0].rpartition("-")[0]):
        yield '<div class="plots">'
        for name, figure in group:
            image = base64.b64encode(render(figure, "svg")).decode()
            yield f'<figure><img alt="{escape(name)}" src="data:image/svg+xml;base64,{image}"></figure>'
        yield "</div>"


def _origin(run: Run) -> str:
    about = run.provenance
    dataset = about.get("dataset", {})
    words = [
        f"Run of {about.get('started', 'unknown date')}",
        f"dataset {dataset.get('name', 'unknown')} ({dataset.get('n', '?')})",
        f"evalkit {about.get('evalkit', '?')}, git {str(about.get('git'))[:12]}",
        f"scored at {about.get('score_rate', '?')} Hz, resampled by {about.get('resampler', '?')}",
        str(about.get("state")),
    ]
    return escape("; ".join(words))


def _provenance(run: Run) -> str:
    text = json.dumps(run.provenance.to_json(), indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(run.path.name)}: run.json</summary><pre>{escape(text)}</pre></details>"


def _file(name: str) -> str:
    return files("evalkit.reports").joinpath(name).read_text(encoding="utf-8")

"""A run as one HTML file: tables, figures, players for the worst and some random utterances, a blind listening test,
the rows, failures and provenance. It needs no network, no server and no other file."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from math import isinf, isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from evalkit.bench.directory import Bench
from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.results.run_directory import REFERENCE_FOLDER
from evalkit.stats import DEFAULTS, Settings

from . import html
from .bench import build_bench_tables
from .bench_beside import bench_plots, beside
from .cells import Cell, Column, Table
from .escape import html as escape
from .listening import Example, choose, examples
from .pairing import build_pairing
from .plots import all_plots, bitrates, render
from .table import build_tables, join

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORST = 2
"""Utterances of each codec that are shown because they are its worst."""
CHANCE = 4
"""Utterances that are shown because chance chose them."""
BUDGET = 24_000_000
"""Bytes of audio and spectrograms in a page; what exceeds it is left out, and the page says so."""
VALUES = 2_000_000
"""Values that the table of rows holds, about 3 bytes each; a page with more does without it."""
KINDS = 500
"""Failures, of one codec, metric and reason each, that a page lists."""
TABS = {
    "results": "Results",
    "listen": "Listen",
    "abx": "Blind test",
    "rows": "Rows",
    "failures": "Failures",
    "pairing": "Pairing",
    "provenance": "Provenance",
}


def build_page(
    runs: Sequence[Run],
    title: str = "",
    metric: str | None = None,
    settings: Settings = DEFAULTS,
    worst: int = WORST,
    chance: int = CHANCE,
    budget: int = BUDGET,
    benches: Sequence[Bench] = (),
) -> str:
    """The report: one file with tables, figures and players.

    Args:
        runs: What to read.
        title: Of the page.
        metric: Which decides which utterances are the worst; by default the first with a better end.
        settings: How differences are judged.
        worst: How many of each codec's worst utterances to play.
        chance: How many more at random.
        budget: Bytes of audio, in all.
        benches: What was measured of cost: it stands beside, and in tables and plots of its own.

    Returns:
        HTML.

    Raises:
        UsageError: As `join`, and where no run has the metric.
    """
    rows, described = join(runs)
    metric = metric or next((name for name, about in described.items() if about["direction"] != "none"), None)
    if metric is None or metric not in described:
        raise UsageError(f"no run has the metric {metric}. There are: {', '.join(described)}.")
    clips: dict[str, str] = {}
    versions: dict[str, dict[str, str]] = {}
    results, listening = [], []
    for table in beside(build_tables(runs, settings=settings), benches):
        part = rows[(rows["dataset"] == table.title) & (rows["utterance"] != CORPUS)]
        results += _shown(table)
        listening.append(f"<h2>{escape(table.title)}: listen</h2>")
        listening += _listening(runs, part, metric, described[metric], worst, chance, budget, clips, versions)
    for table in build_bench_tables(benches):
        results += _shown(table)
    figures = (*all_plots(runs, settings), *bench_plots(runs, benches, settings))
    failed = _failures(rows, described)
    parts = {
        "results": [*results, *_plots(figures)],
        "listen": listening,
        "abx": list(_blind_test(versions)),
        "rows": list(_rows(rows, described)),
        "failures": failed,
        "pairing": list(_pairing(runs)),
        "provenance": [piece for run in runs for piece in _provenance(run)],
    }
    title = title or ", ".join(dict.fromkeys(rows["codec"]))
    body = [
        f'<div class="top"><h1>{escape(title)}</h1>',
        '<button type="button" id="theme" class="plain" title="light or dark">◐</button></div>',
        *(f"<p>{_origin(run)}</p>" for run in runs),
        '<div role="tablist" aria-label="parts of this report" hidden>',
        *(_tab(name) for name in TABS if parts[name]),
        "</div>",
        *(
            f'<section role="tabpanel" id="{name}" aria-labelledby="tab-{name}">{chr(10).join(content)}</section>'
            for name, content in parts.items()
            if content
        ),
        '<div id="bar" hidden><button type="button">Play</button><button type="button" aria-pressed="false">original'
        '</button><button type="button" aria-pressed="false"></button><span></span>',
        '<input type="range" min="0" max="100" step="0.1" value="0" aria-label="place"></div>',
        html.data("clips", clips),
    ]
    return html.document(title, body, ("base.css", "page.css"), ("tables.js", "page.js"))


def _shown(table: Table) -> list[str]:
    return [f"<h2>{escape(table.title)}</h2>", html.table(table), *map(html.paragraph, table.notes)]


def _tab(name: str) -> str:
    return (
        f'<button type="button" role="tab" id="tab-{name}" aria-controls="{name}" aria-selected="false">'
        f"{TABS[name]}</button>"
    )


# --- listening ---------------------------------------------------------------------------------------------------


def _listening(
    runs: Sequence[Run],
    rows: pd.DataFrame,
    metric: str,
    about: dict[str, Any],
    worst: int,
    chance: int,
    budget: int,
    clips: dict[str, str],
    versions: dict[str, dict[str, str]],
) -> Iterator[str]:
    """Players for one dataset's `rows`; their audio goes into `clips`, and its keys by utterance into `versions`."""
    codecs = list(bitrates(rows))
    chosen = choose(rows, metric, about["direction"], worst, chance)
    found, left_out, damaged = examples(runs, codecs, chosen, budget - sum(map(len, clips.values())))
    if damaged:
        yield "<p>Left out because the file cannot be read:</p><ul>"
        yield "".join(f"<li>{escape(reason)}</li>" for reason in damaged) + "</ul>"
    if not found:
        yield "<p>This run kept no audio: <code>evalkit run --save-audio</code> keeps it.</p>"
        return
    yield (
        f"<p>The worst {worst} of each codec by {escape(about['label'])}, and {chance} at random. If you switch to "
        "another version of an utterance, playback continues at the same position. All versions of an utterance share "
        "one gain; the score is below each.</p>"
    )
    if not any(REFERENCE_FOLDER in example.clips for example in found):
        yield "<p>This run did not keep the originals, so there is nothing to compare with by ear.</p>"
    if left_out:
        yield f"<p>Left out to limit the size of the page: {escape(', '.join(left_out))}.</p>"
    scores = rows[rows["metric"] == metric].set_index(["codec", "utterance"])["value"]
    heads = html.head("Utterance", True) + '<th scope="col" class="original">original</th>'
    heads += "".join(html.head(codec, False) for codec in codecs)
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
            original = name == REFERENCE_FOLDER
            kind = ' class="original"' if original else ""
            label = "original" if original else escape(name)
            player = _player(example, name, clips, versions)
            yield f'<td{kind} data-label="{label}" data-value="{value}">{player}{text}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"


def _player(example: Example, name: str, clips: dict[str, str], versions: dict[str, dict[str, str]]) -> str:
    clip = example.clips.get(name)
    if clip is None:
        return "–"
    original = name == REFERENCE_FOLDER
    shown = "original" if original else name
    key = str(len(clips))
    clips[key] = clip.audio
    versions.setdefault(example.utterance, {})[shown] = key
    what = escape(f"{shown}: {example.utterance}")
    mark = " data-original" if original else ""
    return (
        f'<button type="button" class="play" aria-pressed="false" title="{what}" data-clip="{key}"{mark} '
        f'data-codec="{escape(shown)}" data-utterance="{escape(example.utterance)}">'
        f'<img alt="mel spectrogram of {what}" src="{clip.picture}"></button>'
    )


def _blind_test(versions: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """A/B/X, where there are two versions of anything."""
    if not any(len(clips) > 1 for clips in versions.values()):
        return
    yield f"""<h2>Blind test: A, B and X</h2>
<p>In each trial, X is A or B at random, on a random utterance. Listen, then answer which it is. Keys: A, B and X play;
1 and 2 answer. Use headphones.</p>
<div class="form"><label>A <select data-abx="a"></select></label><label>B <select data-abx="b"></select></label>
<label>trials <input type="number" data-abx="count" value="10" min="1" max="99"></label>
<button type="button" class="plain" data-abx="start">Start</button></div>
<p data-abx="trouble" role="status"></p>
<div data-abx="panel" hidden><h3 data-abx="trial"></h3>
<div class="form"><button type="button" class="plain" data-abx="heara">Play A</button>
<button type="button" class="plain" data-abx="hearb">Play B</button>
<button type="button" class="plain" data-abx="hearx">Play X</button></div>
<div class="form"><button type="button" class="plain" data-abx="isa" disabled>X is A</button>
<button type="button" class="plain" data-abx="isb" disabled>X is B</button></div></div>
<div data-abx="sheet" hidden><h3>Score sheet</h3><p data-abx="verdict"></p><div class="scroll"><table><thead><tr>
<th scope="col">trial</th><th scope="col" class="words">utterance</th><th scope="col" class="words">X was</th>
<th scope="col" class="words">answer</th><th scope="col" class="words"></th></tr></thead>
<tbody data-abx="trials"></tbody></table></div>
<p><button type="button" class="plain" data-abx="save">Save as CSV</button></p></div>
{html.data("versions", versions)}"""


# --- figures -----------------------------------------------------------------------------------------------------


def _plots(figures: Sequence[tuple[str, "Figure"]]) -> Iterator[str]:
    """A line of figures for each dataset and metric, rate and quality first."""
    if figures:
        yield "<h2>Figures</h2>"
    for _, group in groupby(figures, key=lambda named: named[0].rpartition("-")[0]):
        yield '<div class="plots">'
        for _, figure in group:
            image = base64.b64encode(render(figure, "svg", transparent=True)).decode()
            words = escape(str(figure.get_label()))
            yield f'<figure><img alt="{words}" src="data:image/svg+xml;base64,{image}">'
            yield f"<figcaption>{escape(str(figure.get_label()).partition(':')[0])}</figcaption></figure>"
        yield "</div>"


# --- rows and failures -------------------------------------------------------------------------------------------


def _rows(rows: pd.DataFrame, described: Mapping[str, Any]) -> Iterator[str]:
    """Every row, a line for each codec and utterance, packed; page.js shows them."""
    if len(rows) > VALUES:
        yield f"<p>{len(rows):,} rows are too many for a page: see rows.parquet in the run directory.</p>"
        return
    keys = ["codec", "dataset", "utterance", "language"]
    keys += ["pairing"] if "pairing" in rows and rows["pairing"].notna().any() else []
    named = rows[rows["utterance"] != CORPUS]
    named = named.assign(**{key: named[key].astype("object").fillna("") for key in keys[3:]})
    # What failed is null, what was not measured is "".
    wide = named.assign(value=named["value"].fillna(np.inf)).pivot(index=keys, columns="metric", values="value")
    metrics = [m for m in described if m in wide] + [m for m in wide if m not in described]
    lines = wide.reset_index()
    lines["codec"] = pd.Categorical(lines["codec"], rows["codec"].drop_duplicates())
    lines = lines.sort_values(["dataset", "codec", "utterance"])
    words: dict[str, list[str]] = {}
    packed: list[list[Any]] = []
    for key in keys:
        codes, uniques = pd.factorize(lines[key])
        words[key] = list(map(str, uniques))
        packed.append(codes.tolist())
    for metric in metrics:
        digits = described[metric]["decimals"] + 1 if metric in described else 4
        values = lines[metric].round(digits)
        packed.append(["" if isnan(value) else None if isinf(value) else value for value in values.tolist()])
    names = {metric: described[metric]["label"] for metric in metrics if metric in described}
    yield """<h2>Rows</h2>
<div class="form"><label>search <input type="search" data-rows="text"></label>
<label>codec <select data-rows="codec"><option value="">all</option></select></label>
<label>dataset <select data-rows="dataset"><option value="">all</option></select></label>
<label>language <select data-rows="language"><option value="">all</option></select></label>
<label><input type="checkbox" data-rows="failed"> without a value</label></div>
<div class="form"><button type="button" class="plain" id="before">Previous</button>
<span id="rowcount" role="status"></span> <button type="button" class="plain" id="after">Next</button></div>
<div class="scroll" id="rowtable">This table needs JavaScript.</div>"""
    yield html.packed("rowdata", {"names": names, "columns": keys, "words": words, "metrics": metrics, "lines": packed})


def _failures(rows: pd.DataFrame, described: Mapping[str, Any]) -> list[str]:
    """What has no value, and why, for each codec and metric: reasons that differ in the file's name alone are one."""
    failed = rows[rows["value"].isna()]
    reasons = [
        str(reason).replace(f"/{name}.", "/*.")
        for reason, name in failed[["reason", "utterance"]].itertuples(index=False)
    ]
    failed = failed.assign(reason=reasons)
    heads = ("codec", "metric", "reason", "n", "utterances")
    columns = tuple(Column(name, name, words=name != "n") for name in heads)
    lines = []
    groups = failed.groupby(["codec", "metric", "reason"], sort=False, dropna=False)
    for (codec, metric, reason), part in islice(groups, KINDS):
        names = ["the whole dataset" if name == CORPUS else str(name) for name in part["utterance"]]
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        label = described[metric]["label"] if metric in described else str(metric)
        n = Cell(str(len(part)), len(part))
        lines.append((Cell(str(codec)), Cell(label), Cell(str(reason)), n, Cell(some)))
    if not lines:
        return ["<h2>Failures</h2>", "<p>Every row has a value.</p>"]
    return [
        "<h2>Failures</h2>",
        f"<p>{len(failed):,} of {len(rows):,} rows have no value. No failure becomes a number: "
        "means are over the rest.</p>",
        html.table(Table("", columns, tuple(lines))),
        *([f"<p>{groups.ngroups - KINDS:,} more reasons are in rows.parquet.</p>"] if groups.ngroups > KINDS else []),
    ]


def _pairing(runs: Sequence[Run]) -> Iterator[str]:
    table = build_pairing(runs)
    if table.rows:
        yield "<h2>Are recordings paired with the right references?</h2>"
        yield from map(html.paragraph, table.notes)
        yield html.table(table)


# --- provenance --------------------------------------------------------------------------------------------------


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


def _provenance(run: Run) -> Iterator[str]:
    """Where the run's numbers come from: what matters most as tables, then all of it."""
    about = run.provenance.to_json()
    yield f"<h2>{escape(run.path.name)}</h2>"
    dataset = about.get("dataset", {})
    facts = {
        "command": " ".join(map(str, about.get("command", ()))),
        "dataset": dataset.get("name"), "dataset identity": dataset.get("revision"),
        "dataset license": dataset.get("license"),
        "device": about.get("device"), "seed": about.get("seed"), "processor": about.get("processor"),
        "lags": "compensated" if about.get("align") else "",
        "platform": about.get("platform"), "Python": about.get("python"), "state": about.get("state"),
    }  # fmt: skip
    yield _facts(("item", "value"), [(name, str(value)) for name, value in facts.items() if value not in (None, "")])
    codecs = about.get("codecs", {})
    if codecs:
        yield "<h3>Codecs</h3>"
        yield _facts(("codec", "details"), [(name, _flat(what)) for name, what in codecs.items()])
    yield "<h3>Metrics</h3>"
    yield _facts(("metric", "details"), [(name, _flat(what)) for name, what in about.get("metrics", {}).items()])
    text = json.dumps(about, indent=2, ensure_ascii=False)
    shown = "\n".join(map(escape, text.split("\n")))
    yield f"<details><summary>run.json</summary><pre>{shown}</pre></details>"


def _facts(heads: tuple[str, str], lines: Sequence[tuple[str, str]]) -> str:
    columns = tuple(Column(name, name, words=True) for name in heads)
    return html.table(Table("", columns, tuple((Cell(name), Cell(value)) for name, value in lines)))


def _flat(what: Any) -> str:
    """Nested values in one line: `sample_rate 24000, weights_sha256 model.pt 1f…`."""
    if isinstance(what, Mapping):
        return ", ".join(f"{key} {_flat(value)}" for key, value in what.items() if value not in (None, "", [], {}))
    if isinstance(what, list):
        return " ".join(map(str, what))
    return str(what)

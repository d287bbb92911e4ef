"""Runs as a leaderboard: one static page with its data, the run's reports and provenance beside it, and what a model's
page on the Hugging Face hub takes."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from evalkit.errors import UsageError
from evalkit.results.rows import CORPUS
from evalkit.results.run import Run
from evalkit.stats import DEFAULTS, Settings, summarize

from . import escape, html
from .hub import eval_results_yaml, hub_results, model_index_yaml
from .plots import bitrates
from .table import join, ranks, trained_on

ALL = ""
"""The language of means over all of a dataset."""


@dataclass(frozen=True)
class Leaderboard:
    """The files of a site, by their path in it."""

    files: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """What whoever made it should know."""


def build_leaderboard(
    runs: Sequence[Run],
    title: str = "Speech codecs",
    settings: Settings = DEFAULTS,
    report: Callable[[Run], str] | None = None,
    datasets: Mapping[str, str] | None = None,
    source: str = "",
) -> Leaderboard:
    """A site of `runs`.

    Args:
        runs: Runs that compare: a codec once on each dataset, the same metrics and audio under the same names.
        title: Of the page.
        settings: How means and intervals are computed.
        report: Makes the report of a run, as HTML; without it there are none.
        datasets: OWNER/NAME on the hub by dataset, for the exports.
        source: Where the site will be, for the exports.

    Returns:
        index.html, leaderboard.json, runs/RUN/run.json and report.html, hub/RUN/CODEC.model-index.yaml and, for data on
        the hub, CODEC.eval_results.yaml.

    Raises:
        UsageError: the runs do not compare.
    """
    folders = _folders(runs)
    links = {
        folder: {"run": f"runs/{folder}/run.json", **({"report": f"runs/{folder}/report.html"} if report else {})}
        for folder in folders
    }
    content = leaderboard_data(runs, folders, links, settings)
    files = {"leaderboard.json": json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"}
    body = [
        f'<div class="top"><h1>{escape.html(title)}</h1>',
        '<button type="button" id="theme" class="plain" title="light or dark">◐</button></div>',
        '<p id="about"></p><form class="form" id="filters"></form>',
        '<figure id="scatter"></figure><div class="scroll" id="board">This page needs JavaScript; leaderboard.json '
        "has the same numbers.</div>",
        '<div id="notes"></div>',
        html.data("board-data", content | {"title": title}),
    ]
    page = html.document(title, body, ("base.css", "leaderboard.css"), ("tables.js", "leaderboard.js"))
    files["index.html"] = page + "\n"
    unexported: dict[str, None] = {}
    for folder, run in zip(folders, runs, strict=True):
        about = json.dumps(run.provenance.to_json(), indent=2, ensure_ascii=False)
        files[f"runs/{folder}/run.json"] = about + "\n"
        if report:
            files[f"runs/{folder}/report.html"] = report(run)
        for codec in run.rows["codec"].drop_duplicates():
            found = hub_results(run, str(codec), datasets, source, settings)
            stem = f"hub/{folder}/{escape.file_name(str(codec))}"
            files[f"{stem}.model-index.yaml"] = model_index_yaml(found)
            if text := eval_results_yaml(found):
                files[f"{stem}.eval_results.yaml"] = text
            else:
                unexported |= dict.fromkeys(run.rows["dataset"].unique())
    notes = tuple(
        f"No .eval_results/ file for {name}, because its repository on the Hugging Face Hub is not known: "
        f"give it with --hub-dataset {name}=OWNER/NAME"
        for name in unexported
    )
    return Leaderboard(files, notes)


def write_site(board: Leaderboard, folder: Path) -> None:
    """Write a site.

    Args:
        board: Its files.
        folder: Where to; made if need be.

    Raises:
        UsageError: It cannot be written.
    """
    for name, text in board.files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def leaderboard_data(
    runs: Sequence[Run], folders: Sequence[str], links: Mapping[str, Mapping[str, str]], settings: Settings
) -> dict[str, Any]:
    """The numbers of the page, as leaderboard.json holds them.

    Args:
        runs: What to read.
        folders: How each run is called.
        links: Addresses on the page, by folder and label.
        settings: Of the intervals.

    Returns:
        What there is, then a mean for each system, dataset, language and metric, and for all languages together ("").
    """
    rows, described = join(runs)
    trained = trained_on(runs)
    metrics = [m for m in described if m in set(rows["metric"]) and m != "bitrate"]
    return {
        "metrics": {
            m: {
                "label": described[m]["label"], "direction": described[m]["direction"],
                "unit": described[m].get("unit", ""), "decimals": described[m]["decimals"],
                "version": described[m].get("version", ""), "ranks": ranks(m, described[m]),
            }
            for m in metrics
        },
        "datasets": _datasets(runs),
        "systems": {
            str(codec): _system(run, str(codec), links[folder])
            for folder, run in zip(folders, runs, strict=True)
            for codec in run.rows["codec"].drop_duplicates()
        },
        "trained": sorted([codec, metric] for codec, metric in trained),
        "means": list(_means(rows, metrics, settings)),
        "intervals": settings.describe(),
        "notes": list(dict.fromkeys(note for run in runs for note in run.provenance.notes)),
    }  # fmt: skip


def _datasets(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        about = run.provenance.dataset
        for name in run.rows["dataset"].drop_duplicates():
            known = {
                "license": about.license,
                "n": about.n,
                "audio_sha256": about.audio_sha256,
                "part": about.selection,
            }
            found.setdefault(str(name), {key: value for key, value in known.items() if value})
    return found


def _system(run: Run, codec: str, links: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a system, as far as its run says it."""
    about = run.provenance.codecs.get(codec)
    known: dict[str, Any] = {"links": dict(links), "git": run.provenance.git, "evalkit": run.provenance.evalkit}
    if about is not None:
        known |= {
            "license": about.weights_license or about.code_license, "causal": about.causal,
            "parameters": about.parameters, "frame_rate": about.frame_rate, "sample_rate": about.sample_rate,
            "codebooks": list(about.codebook_sizes), "weights": about.weights, "released": about.released,
            "sha256": _digests(about.details.get("weights_sha256")), "rendered": bool(about.rendered) or None,
        }  # fmt: skip
    return {key: value for key, value in known.items() if value not in (None, "", [], {})}


def _digests(found: object) -> dict[str, str]:
    """sha256 by file; older runs name one for all."""
    if isinstance(found, Mapping):
        return {str(name): str(digest) for name, digest in found.items()}
    return {"weights": str(found)} if found else {}


def _means(rows: pd.DataFrame, metrics: Sequence[str], settings: Settings) -> Iterator[dict[str, Any]]:
    for dataset, part in rows.groupby("dataset", sort=False):
        rated = bitrates(part)
        part = part[part["metric"].isin(metrics)]
        single = part[part["utterance"] != CORPUS]
        pooled = part[part["utterance"] == CORPUS]
        spoken = sorted(single["language"].dropna().unique())
        groups = [(ALL, part)]
        groups += [(language, single[single["language"] == language]) for language in spoken] if len(spoken) > 1 else []
        for language, some in groups:
            for line in summarize(some, settings).itertuples(index=False):
                mean = {
                    "system": line.codec, "dataset": str(dataset), "language": language, "metric": line.metric,
                    "n": int(line.n), "n_failed": int(line.n_failed),
                    "pooled": bool(((pooled["codec"] == line.codec) & (pooled["metric"] == line.metric)).any()),
                    "mean": _number(line.mean), "low": _number(line.ci_low), "high": _number(line.ci_high),
                    "kbps": _number(rated[line.codec]),
                }  # fmt: skip
                yield mean


def _number(value: float) -> float | None:
    return None if isnan(value) else round(float(value), 6)


def _folders(runs: Sequence[Run]) -> list[str]:
    """A folder's name for each run: its own, made unique."""
    found: list[str] = []
    for run in runs:
        name = escape.file_name(run.path.resolve().name or "run")
        same = sum(other == name or other.startswith(f"{name}-") for other in found)
        found.append(f"{name}-{same + 1}" if name in found else name)
    return found

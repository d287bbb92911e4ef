"""What each command of the command line does: it takes the parsed arguments, prints, and returns the exit code.

Everything heavy is imported where it is used, so that `evalkit --help` is there at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.cache import Cache
    from evalkit.executors import Executor
    from evalkit.reports.table import Table
    from evalkit.shards import Shard
    from evalkit.stats import Settings
    from evalkit.store import Row


def _settings(args: argparse.Namespace) -> "Settings":
    from evalkit.stats import Settings

    return Settings(interval=args.ci, cluster=args.cluster, correction=args.correction)


def run(args: argparse.Namespace) -> int:
    from evalkit.codecs import assign, choose
    from evalkit.coding import Here
    from evalkit.datasets import load_dataset
    from evalkit.plan import Plan
    from evalkit.progress import Progress
    from evalkit.run import execute

    if args.suite:
        return _run_suite(args)
    codecs = tuple(dict.fromkeys(choose(spec, args.bitrate) for spec in args.codec))
    codecs = assign(assign(codecs, args.weights, "--weights"), args.rendered, "--rendered")
    dataset = load_dataset(
        args.dataset or "builtin", args.limit, args.seed, per_language=args.per_language, ids=args.ids
    )
    workers = _workers(args)
    plan = Plan(
        codecs=codecs,
        dataset=dataset,
        metrics=_metrics(args, dataset.languages),
        output=args.output or _new_output("-".join(codec.spec for codec in codecs)),
        device=args.device,
        seed=args.seed,
        save_audio=args.save_audio,
        overwrite=args.overwrite,
        workers=workers,
        batch=args.batch,
        coder=getattr(workers, "coder", Here),
        shard=_shard(args),
    )
    with _cache(args) as cache, Progress(len(codecs) * len(plan.utterances), "utterances") as progress:
        rows = execute(plan, cache, progress.advance)
    return _conclude(rows, plan.output, args.max_failed)


def _run_suite(args: argparse.Namespace) -> int:
    """A run for each dataset of a suite, in folders of OUTPUT; the worst exit code of them."""
    from dataclasses import replace

    from evalkit.suites import AVAILABLE, expand_metrics, load_suite

    suite = load_suite(args.suite)
    if args.dataset:
        suite = replace(suite, datasets=(args.dataset,))
    available = [AVAILABLE] if AVAILABLE in args.metrics else []
    if args.metrics not in (["default"], [AVAILABLE]):
        suite = replace(suite, metrics=expand_metrics(args.metrics))
    suite.check(bool(available), args.weights, args.rendered)
    output = args.output or _new_output(suite.name)
    return max(
        run(
            argparse.Namespace(
                **vars(args)
                | {"suite": None, "codec": list(suite.codecs)}
                | {"metrics": [*suite.metrics, *(word for word in args.metrics if word == AVAILABLE)]}
                | {"dataset": dataset, "output": output / dataset.partition(":")[0]}
            )
        )
        for dataset in suite.datasets
    )


def score(args: argparse.Namespace) -> int:
    from evalkit import pairs
    from evalkit.progress import Progress
    from evalkit.score import model_metrics, pair_metrics

    if args.manifest and not (args.reference or args.decoded):
        files, dataset = pairs.from_manifest(args.manifest), args.manifest.stem
    elif args.reference and args.decoded and not args.manifest:
        files, dataset = pairs.from_folders(args.reference, args.decoded), args.reference.resolve().name
    else:
        raise UsageError("give either --reference DIR and --decoded DIR, or --manifest FILE.csv")
    metrics = _metrics(args, tuple(dict.fromkeys(pair.language for pair in files if pair.language)))
    scored = (*pair_metrics(metrics), *model_metrics(metrics))
    if not scored:
        raise UsageError(f"{', '.join(metrics)} look at a codec's codes, and `score` has none: use `evalkit run`")
    output = args.output or _new_output(f"score-{dataset}")
    with _cache(args) as cache, Progress(len(files), "pairs") as progress:
        rows = pairs.score_pairs(
            files, dataset, scored, output, cache, progress.advance,
            overwrite=args.overwrite, workers=_workers(args), device=args.device, batch=args.batch, shard=_shard(args),
        )  # fmt: skip
    return _conclude(rows, output, args.max_failed)


def table(args: argparse.Namespace) -> int:
    from evalkit.reports.against import build_against_paper
    from evalkit.reports.breakdown import build_breakdown
    from evalkit.reports.suite import build_suite_tables
    from evalkit.reports.table import build_tables
    from evalkit.store import read_run
    from evalkit.suites import load_suite

    runs = [read_run(path) for path in args.runs]
    settings = _settings(args)
    if args.suite and (args.metrics or args.codecs or args.against):
        raise UsageError("--suite chooses rows and columns: give it without --metrics, --codecs and --against")
    if args.suite:
        tables = build_suite_tables(runs, load_suite(args.suite), settings)
    elif args.by:
        tables = build_breakdown(runs, args.by, args.metrics, settings, args.codecs)
    elif args.against:
        tables = build_against_paper(runs, args.metrics, settings, args.codecs)
    else:
        tables = build_tables(runs, args.metrics, settings, args.codecs)
    _show(tables, args.format)
    return 0


def compare(args: argparse.Namespace) -> int:
    from evalkit.reports.compare import build_comparisons
    from evalkit.store import read_run

    runs = [read_run(path) for path in args.runs]
    _show(build_comparisons(runs, args.codecs, args.metrics, _settings(args)), args.format)
    return 0


def drift(args: argparse.Namespace) -> int:
    from evalkit.reports.drift import build_drift
    from evalkit.store import read_run

    runs = [read_run(path) for path in args.runs]
    _show(build_drift(runs, args.first, args.second, _settings(args)), args.format)
    return 0


def claims(args: argparse.Namespace) -> int:
    from evalkit.reports.claims import build_claims
    from evalkit.store import read_run

    _show(build_claims([read_run(path) for path in args.runs], _settings(args)), args.format)
    return 0


def report(args: argparse.Namespace) -> int:
    from evalkit.reports.page import build_page
    from evalkit.store import read_run

    runs = [read_run(path) for path in args.runs]
    budget = int(args.max_mb * 1e6)
    page = build_page(runs, args.title, args.metric, _settings(args), args.worst, args.random, budget)
    _write(args.output, page)
    print(f"Report: {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)", file=sys.stderr)
    return 0


def plot(args: argparse.Namespace) -> int:
    from evalkit.reports.plots import save_plots
    from evalkit.store import read_run

    for path in save_plots([read_run(path) for path in args.runs], args.output, args.format, _settings(args)):
        print(path)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def gate(args: argparse.Namespace) -> int:
    from evalkit import gate
    from evalkit.reports import gate as report
    from evalkit.store import read_run

    run = read_run(args.run)
    if args.update:
        gate.write_baseline(run, args.baseline)
        print(f"Baseline: {args.baseline}", file=sys.stderr)
        return 0
    verdict = gate.check(run, gate.read_baseline(args.baseline), gate.read_rules(args.config), args.codec)
    print(report.text(verdict))
    if args.junit:
        _write(args.junit, report.junit(verdict))
    if args.summary:
        _write(args.summary, report.markdown(verdict))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(report.annotations(verdict), end="")
        if step := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(step).open("a", encoding="utf-8") as file:
                file.write(report.markdown(verdict))
    return 0 if verdict.passed else 1


def _show(tables: "Sequence[Table]", form: str) -> None:
    """Print `tables` as --format says."""
    from evalkit.reports.render import FORMATS

    if form == "terminal":
        _print_tables(tables)
    else:
        print("\n".join(FORMATS[form](table) for table in tables), end="")


def show_list(args: argparse.Namespace) -> int:
    from evalkit import listing

    columns, rows = listing.LISTINGS[args.what]()
    if args.json:
        _print_json(columns, rows)
    else:
        notes: list[str] = []
        if args.what == "codecs":
            columns, rows, notes = listing.show_codecs((columns, rows))
        _print_listing(columns, rows)
        print("\n".join(notes))
    return 0


def _metrics(args: argparse.Namespace, languages: Sequence[str]) -> tuple[str, ...]:
    """What --metrics means, with a word on what `available` left out."""
    from evalkit.suites import available_metrics, missing_lines

    names, left_out = available_metrics(args.metrics, languages)
    if left_out:
        print(f"left out, because it cannot run here yet:\n{missing_lines(left_out)}", file=sys.stderr)
    return names


def _cache(args: argparse.Namespace) -> "Cache":
    from evalkit.cache import Cache
    from evalkit.folders import cache_folder

    return Cache(None if args.no_cache else cache_folder())


def _workers(args: argparse.Namespace) -> "Executor":
    if args.executor == "ray":
        from evalkit.ray_workers import RayWorkers

        return RayWorkers(args.device)
    from evalkit.score import scoring_processes

    return scoring_processes(args.jobs)


def _shard(args: argparse.Namespace) -> "Shard | None":
    from evalkit.shards import parse_shard

    return parse_shard(args.shard) if args.shard else None


def merge(args: argparse.Namespace) -> int:
    from evalkit.shards import merge

    return _conclude(merge(args.runs, args.output, args.overwrite), args.output, args.max_failed)


def manage_cache(args: argparse.Namespace) -> int:
    from evalkit.cache import Cache
    from evalkit.folders import cache_folder

    with Cache(cache_folder()) as cache:
        if args.action == "clear":
            cache.clear()
        for name, value in cache.info().items():
            print(f"{name}: {value}")
    return 0


def _conclude(rows: "Sequence[Row]", output: Path, max_failed: int) -> int:
    """Print the table and what failed; the exit code follows."""
    from evalkit.reports.table import build_tables
    from evalkit.store import failed_utterances, read_run

    _print_tables(build_tables([read_run(output)]))
    failed = failed_utterances(rows)
    for codec, reasons in failed.items():
        print(f"{codec}: {len(reasons)} utterance(s) lack a value, for instance", file=sys.stderr)
        for utterance, reason in list(reasons.items())[:3]:
            print(f"  {utterance}: {reason}", file=sys.stderr)
    print(f"Results: {output}/ (rows.parquet, summary.csv, run.json)", file=sys.stderr)
    return 4 if any(len(reasons) > max_failed for reasons in failed.values()) else 0


def _print_tables(tables: Sequence[Any]) -> None:
    from rich.console import Console

    from evalkit.reports.render import fitting, rich_table

    # A file or a pipe has no width to fit: the table gets all that it needs there.
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in tables:
        for part in fitting(table, console.width):
            console.print(rich_table(part))
        for note in table.notes:
            console.print(note, style="dim", markup=False, highlight=False, soft_wrap=True)


def fetch(args: argparse.Namespace) -> int:
    from evalkit import hub
    from evalkit.codecs import choose
    from evalkit.datasets.languages import codes
    from evalkit.fetch import downloads, fetch, fetch_files
    from evalkit.progress import Progress

    known = {name: downloads(name, codes(args.languages)) for name in args.names}
    choices = [choose(name) for name, files in known.items() if files is None]
    files = list(dict.fromkeys(file for some in known.values() for file in some or ()))
    code = [file for file in files if file.code]
    if args.sha256:
        if len(code) != 1:
            raise UsageError("--sha256 is for one file that is code: evalkit fetch secs-ecapa2 --sha256 HEX")
        hub.pin(code[0], args.sha256)
    missing = [file for file in files if file.find() is None]
    for line in hub.describe(missing):
        print(line, file=sys.stderr)
    with Progress(sum(file.size for file in missing), "bytes") as progress:
        for file, path in fetch_files(files, progress.advance):
            print(f"{file}: {path}")
    for choice, found in fetch(choices):
        print(f"{choice.spec}: {found or 'needs no weights'}")
    return 0


def doctor(args: argparse.Namespace) -> int:
    from evalkit.doctor import examine

    (_print_json if args.json else _print_listing)(*examine())
    return 0


def _print_json(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    import json

    print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2, ensure_ascii=False))


def _print_listing(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def _new_output(name: str) -> Path:
    from datetime import datetime

    from evalkit.store import slug

    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{slug(name)}"

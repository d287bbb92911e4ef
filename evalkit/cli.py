"""The command line: arguments and printing, nothing else."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit import __version__
from evalkit.errors import EvalkitError, UsageError

if TYPE_CHECKING:
    from evalkit.cache import Cache
    from evalkit.executors import Executor
    from evalkit.reports.table import Table
    from evalkit.shards import Shard
    from evalkit.stats import Settings
    from evalkit.store import Row

EXAMPLES = """examples:
  evalkit run --codec nanocodec --bitrate 1.1k
  evalkit run --codec nanocodec@1.1k --codec opus@6k --codec codec2@1.2k --output runs/first
  evalkit score --reference originals/ --decoded decoded/
  evalkit table runs/first --format latex
  evalkit gate runs/first --baseline baseline.json
  evalkit list codecs

exit codes:
  0 done   1 a gate failed   2 usage   3 weights, data or an extra is missing
  4 more utterances failed than --max-failed, or a gate had too little to compare
"""

RUN_EXAMPLES = """examples:
  evalkit run --codec nanocodec --bitrate 1.1k
  evalkit run --codec opus@6k --codec opus@12k --metrics pesq-wb,estoi --limit 4
  evalkit run --codec codec2 --bitrate 1.2k --save-audio --output runs/codec2
  evalkit run --suite paper-high --output runs/high            a run for each of its datasets, in runs/high/
  evalkit run --codec mimi --dataset mls:/data/mls --per-language 200 --metrics paper,available
  evalkit run --codec mimi --dataset daps:/data/daps,version=cleanraw,speakers=f10+m10

data are named NAME[:PLACE][,OPTION=VALUE…]:
  builtin                    the set that evalkit ships
  mls44[:FILE.zip|DIR]       the paper's MLS at 44.1 kHz (languages=de+pl)
  mls[:DIR], mls:hub         MLS as released, 16 kHz (split=test, languages=de+pl, revision=COMMIT)
  daps[:DIR]                 DAPS in segments (version=clean, speakers=f10+m10)
  folder:DIR                 audio and an optional metadata.csv (language=en)
  hub:OWNER/NAME             parquet on the Hugging Face hub (files=…, split=test, revision=COMMIT, text=…, language=…)
Without a place, mls, mls44 and daps are looked for in the folder that EVALKIT_DATA names.
"""

SCORE_EXAMPLES = """examples:
  evalkit score --reference originals/ --decoded decoded/      files match by name: a/1.wav and a/1.flac
  evalkit score --manifest pairs.csv --metrics pesq-wb,mel-2048-80-ln1p

a manifest is a CSV with the columns utterance, reference, decoded, and optionally system, language, speaker,
transcript, bitrate_kbps and any others, which the rows keep. Its paths are relative to its own folder.
"""

MERGE_EXAMPLES = """examples:
  evalkit run --codec opus@6k --shard 1/2 --output runs/part-1
  evalkit run --codec opus@6k --shard 2/2 --output runs/part-2
  evalkit merge runs/part-1 runs/part-2 --output runs/whole
"""

TABLE_EXAMPLES = """examples:
  evalkit table runs/first
  evalkit table runs/first runs/second --metrics pesq-wb,estoi --format markdown > table.md
  evalkit table runs/first --cluster speaker --ci percentile
  evalkit table runs/first --by language
  evalkit table runs/high/* --suite paper-high --format latex    a table of the paper, from your runs
  evalkit table runs/high/* --against paper                      measured beside published
"""

COMPARE_EXAMPLES = """examples:
  evalkit compare runs/first
  evalkit compare runs/first --codecs opus@6k,codec2@1.2k --metrics pesq-wb --cluster speaker
"""

DRIFT_EXAMPLES = """examples:
  evalkit run --codec mimi --codec opus@6k --metrics cer-mms,cer-mms:dtype=bfloat16 --output runs/both
  evalkit drift runs/both cer-mms cer-mms:dtype=bfloat16        may the faster one stand for the other?
"""

CLAIMS_EXAMPLES = """examples:
  evalkit claims runs/mls44 runs/daps
  evalkit claims runs/mls44 --cluster speaker --format markdown > claims.md
"""

REPORT_EXAMPLES = """examples:
  evalkit run --codec opus@6k --codec codec2@1.2k --save-audio --output runs/first
  evalkit report runs/first --output report.html
"""

PLOT_EXAMPLES = """examples:
  evalkit plot runs/first --output plots/ --format pdf
"""

FETCH_EXAMPLES = """examples:
  evalkit fetch mimi@1.1k nanocodec@0.6k
  evalkit fetch sqmos cer-mms --languages de+pl
  evalkit fetch secs-ecapa2 --sha256 HEX       its model is code: pin the sha256 that you trust
  evalkit fetch mls44                          the paper's test set (2.1 GB), into the folder EVALKIT_DATA

several weights are for non-commercial use only: `evalkit doctor` says which.
"""

GATE_EXAMPLES = """examples:
  evalkit gate runs/good --update --baseline baseline.json
  evalkit gate runs/new --baseline baseline.json --junit gate.xml --summary gate.md

a gate fails where the run is worse than the baseline by more than the margin, with confidence. Inside GitHub Actions
it writes annotations and the job's summary by itself.

exit codes:
  0 passed   1 failed   2 the two do not compare   4 too little was measured: not a pass
"""

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `evalkit`; returns the exit code."""
    # While codecs encode, metrics are scored on the same cores. Threads of torch that wait for each other must not spin
    # then: on busy cores that costs ten times the work itself. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    args = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except EvalkitError as error:
        print(f"evalkit: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(
            f"evalkit: {error}. What was finished is kept: make room and run the same command again.", file=sys.stderr
        )
        return 3
    except KeyboardInterrupt:
        print("evalkit: interrupted; what was finished is kept", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `evalkit table … | head`
        sys.stderr.close()
        return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="evalkit",
        description="Measure neural speech codecs: encode, decode, score, compare.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"evalkit {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    run = _command(commands, "run", _run, "run codecs over a dataset and score what comes out", RUN_EXAMPLES)
    what = run.add_mutually_exclusive_group(required=True)
    what.add_argument("--codec", action="append", metavar="NAME[@RATE]", help="repeatable")
    what.add_argument("--suite", metavar="NAME", help="a comparison of the paper: paper-high, paper-mid, …")
    run.add_argument("--bitrate", metavar="RATE", help="for every --codec without a rate: 1.1k, 6k, …")
    run.add_argument(
        "--dataset", metavar="NAME[:PLACE]", help="default: builtin, or those of the suite (`evalkit list datasets`)"
    )
    run.add_argument(
        "--weights", action="append", default=[], metavar="[NAME=]PATH",
        help="a file or folder instead of a codec's own weights; repeatable",
    )  # fmt: skip
    run.add_argument(
        "--rendered", action="append", default=[], metavar="[NAME=]DIR",
        help="audio that a codec decoded elsewhere, one file an utterance, named by its id; repeatable",
    )  # fmt: skip
    run.add_argument("--limit", type=_positive, metavar="N", help="only N utterances, drawn with --seed")
    run.add_argument("--per-language", type=_positive, metavar="N", help="only N of each language, drawn with --seed")
    run.add_argument("--ids", type=Path, metavar="FILE", help="only the utterances whose ids FILE lists, one a line")
    run.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    run.add_argument("--save-audio", action="store_true", help="keep the decoded audio in OUTPUT/audio")
    _common(run)

    score = _command(commands, "score", _score, "score audio that was decoded elsewhere", SCORE_EXAMPLES)
    score.add_argument("--reference", type=Path, metavar="DIR")
    score.add_argument("--decoded", type=Path, metavar="DIR")
    score.add_argument("--manifest", type=Path, metavar="FILE.csv")
    _common(score)

    table = _command(commands, "table", _table, "the table of one run or several", TABLE_EXAMPLES)
    table.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    table.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    table.add_argument("--metrics", type=_words, metavar="NAME,…", help="which columns, in which order")
    table.add_argument("--codecs", type=_words, metavar="NAME,…", help="which rows, in which order")
    table.add_argument("--suite", metavar="NAME", help="the rows and columns of a comparison of the paper")
    table.add_argument("--by", metavar="COLUMN", help="means by language (or another column), and their macro average")
    table.add_argument("--against", choices=["paper"], help="each mean beside what is published of it")
    _statistics(table)

    compare = _command(commands, "compare", _compare, "paired tests between the codecs of runs", COMPARE_EXAMPLES)
    compare.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    compare.add_argument("--codecs", type=_words, metavar="NAME,…", help="default: all")
    compare.add_argument("--metrics", type=_words, metavar="NAME,…", help="default: all that have a better end")
    compare.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    _statistics(compare)

    drift = _command(commands, "drift", _drift, "two variants of a metric on the same audio", DRIFT_EXAMPLES)
    drift.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    drift.add_argument("first", metavar="METRIC")
    drift.add_argument("second", metavar="VARIANT")
    drift.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    _statistics(drift)

    claims = _command(commands, "claims", _claims, "what runs say of the paper's claims", CLAIMS_EXAMPLES)
    claims.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    claims.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    _statistics(claims)

    report = _command(commands, "report", _report, "a run as one HTML file: table, plots, players", REPORT_EXAMPLES)
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    report.add_argument("--output", "-o", type=Path, required=True, metavar="FILE.html")
    report.add_argument("--title", default="", metavar="TEXT", help="default: the codecs")
    report.add_argument("--metric", metavar="NAME", help="by which the worst utterances are chosen; default: the first")
    report.add_argument("--worst", type=int, default=2, metavar="N", help="of each codec to hear; default: %(default)s")
    report.add_argument("--random", type=int, default=4, metavar="N", help="to hear besides; default: %(default)s")
    report.add_argument("--max-mb", type=float, default=24, metavar="MB", help="of audio in it; default: %(default)s")
    _statistics(report)

    plot = _command(commands, "plot", _plot, "pictures of runs: rate and quality, languages, scores", PLOT_EXAMPLES)
    plot.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    plot.add_argument("--output", "-o", type=Path, required=True, metavar="DIR")
    plot.add_argument("--format", default="svg", choices=["svg", "png", "pdf"])
    _statistics(plot)

    gate = _command(commands, "gate", _gate, "stop a codec that got worse: for CI", GATE_EXAMPLES)
    gate.add_argument("run", type=Path, metavar="RUN")
    gate.add_argument("--baseline", type=Path, required=True, metavar="FILE.json")
    gate.add_argument("--update", action="store_true", help="write RUN as the baseline, and compare nothing")
    gate.add_argument("--config", type=Path, metavar="FILE.yaml", help="margins; default: those of configs/gates.yaml")
    gate.add_argument("--codec", metavar="NAME", help="hold this codec of RUN to the baseline's only one")
    gate.add_argument("--junit", type=Path, metavar="FILE.xml", help="write JUnit XML")
    gate.add_argument("--summary", type=Path, metavar="FILE.md", help="write Markdown for a pull request")

    listing = _command(commands, "list", _list, "codecs, metrics or datasets, and the state of each", "")
    listing.add_argument("what", choices=["codecs", "metrics", "datasets"])
    listing.add_argument("--json", action="store_true", help="for programs")

    merge = _command(commands, "merge", _merge, "join the shards of one run", MERGE_EXAMPLES)
    merge.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    merge.add_argument("--output", type=Path, required=True, metavar="DIR")
    merge.add_argument("--overwrite", action="store_true", help="replace the run that OUTPUT holds")
    _allowance(merge)

    fetch = _command(
        commands, "fetch", _fetch, "download weights and data ahead of time, and verify them", FETCH_EXAMPLES
    )
    fetch.add_argument("names", nargs="+", metavar="NAME", help="codecs (NAME[@RATE]), metrics and data")
    fetch.add_argument("--languages", metavar="de+pl", help="of metrics that have files for each; default: all")
    fetch.add_argument("--sha256", metavar="HEX", help="what a file that is code must be: it is not opened without")

    doctor = _command(commands, "doctor", _doctor, "what is here, what is missing, how to get it, and its license", "")
    doctor.add_argument("--json", action="store_true", help="for programs")

    cache = _command(commands, "cache", _manage_cache, "what is kept of earlier runs, and how to be rid of it", "")
    cache.add_argument("action", choices=["info", "clear"])
    return top


def _command(commands: Any, name: str, action: Callable[..., int], summary: str, epilog: str) -> Any:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=action)
    return command


def _common(command: argparse.ArgumentParser) -> None:
    """What `run` and `score` share."""
    command.add_argument(
        "--metrics", type=_words, default=["default"], metavar="NAME,…",
        help="metrics or sets of them (`evalkit list metrics`), some with options (sqmos:reference=FILE); with the "
        "word `available`, those of them that can run here; default: %(default)s",
    )  # fmt: skip
    command.add_argument("--output", type=Path, metavar="DIR", help="run directory; default: a new one in runs/")
    command.add_argument("--overwrite", action="store_true", help="replace the run that OUTPUT holds")
    command.add_argument("--no-cache", action="store_true", help="compute everything anew and keep nothing")
    command.add_argument("--device", default="cpu", help="where neural models run: cpu, cuda (default: %(default)s)")
    command.add_argument("--jobs", type=_positive, metavar="N", help="processes that score; default: one a core")
    command.add_argument(
        "--executor", default="processes", choices=["processes", "ray"],
        help="score on this machine, or on the Ray cluster that RAY_ADDRESS names; default: %(default)s",
    )  # fmt: skip
    command.add_argument(
        "--batch", type=_positive, default=1, metavar="N", help="recordings a metric's model takes at once"
    )
    command.add_argument("--shard", metavar="i/n", help="do part i of n; `evalkit merge` joins the parts")
    _allowance(command)


def _allowance(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-failed", type=int, default=0, metavar="N",
        help="exit 4 where more than N utterances of a codec have a metric without a value; default: %(default)s",
    )  # fmt: skip


def _statistics(command: argparse.ArgumentParser) -> None:
    """How means and differences are judged: what every command that reads runs shares."""
    command.add_argument(
        "--ci", default="bca", choices=["bca", "percentile", "none"],
        help="bootstrap interval beside each mean; default: %(default)s",
    )  # fmt: skip
    command.add_argument(
        "--cluster", metavar="COLUMN", help="draw all utterances of a speaker (or another column) together"
    )
    command.add_argument(
        "--correction", default="holm", choices=["holm", "bh", "none"],
        help="for many comparisons at once: Holm, Benjamini-Hochberg; default: %(default)s",
    )  # fmt: skip


def _settings(args: argparse.Namespace) -> "Settings":
    from evalkit.stats import Settings

    return Settings(interval=args.ci, cluster=args.cluster, correction=args.correction)


def _run(args: argparse.Namespace) -> int:
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
        _run(
            argparse.Namespace(
                **vars(args)
                | {"suite": None, "codec": list(suite.codecs)}
                | {"metrics": [*suite.metrics, *(word for word in args.metrics if word == AVAILABLE)]}
                | {"dataset": dataset, "output": output / dataset.partition(":")[0]}
            )
        )
        for dataset in suite.datasets
    )


def _score(args: argparse.Namespace) -> int:
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


def _table(args: argparse.Namespace) -> int:
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


def _compare(args: argparse.Namespace) -> int:
    from evalkit.reports.compare import build_comparisons
    from evalkit.store import read_run

    runs = [read_run(path) for path in args.runs]
    _show(build_comparisons(runs, args.codecs, args.metrics, _settings(args)), args.format)
    return 0


def _drift(args: argparse.Namespace) -> int:
    from evalkit.reports.drift import build_drift
    from evalkit.store import read_run

    runs = [read_run(path) for path in args.runs]
    _show(build_drift(runs, args.first, args.second, _settings(args)), args.format)
    return 0


def _claims(args: argparse.Namespace) -> int:
    from evalkit.reports.claims import build_claims
    from evalkit.store import read_run

    _show(build_claims([read_run(path) for path in args.runs], _settings(args)), args.format)
    return 0


def _report(args: argparse.Namespace) -> int:
    from evalkit.reports.page import build_page
    from evalkit.store import read_run

    runs = [read_run(path) for path in args.runs]
    budget = int(args.max_mb * 1e6)
    page = build_page(runs, args.title, args.metric, _settings(args), args.worst, args.random, budget)
    _write(args.output, page)
    print(f"Report: {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)", file=sys.stderr)
    return 0


def _plot(args: argparse.Namespace) -> int:
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


def _gate(args: argparse.Namespace) -> int:
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


def _list(args: argparse.Namespace) -> int:
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


def _merge(args: argparse.Namespace) -> int:
    from evalkit.shards import merge

    return _conclude(merge(args.runs, args.output, args.overwrite), args.output, args.max_failed)


def _manage_cache(args: argparse.Namespace) -> int:
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


def _fetch(args: argparse.Namespace) -> int:
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


def _doctor(args: argparse.Namespace) -> int:
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


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())

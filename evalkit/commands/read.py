"""Commands that read runs: table, compare, drift, claims, plot, report, leaderboard, gate."""

import argparse
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from evalkit.commands.options import add_command, add_format, add_statistics, assignment, file_path, settings, words
from evalkit.commands.printing import print_lines, show, write_text
from evalkit.errors import UsageError

TABLE_EXAMPLES = """examples:
  evalkit table runs/first
  evalkit table runs/first runs/second --metrics pesq-wb,estoi --format markdown > table.md
  evalkit table runs/first --cluster speaker --ci none
  evalkit table runs/first --by language
  evalkit table runs/first --format latex --highlight best,second > table.tex
  evalkit table runs/high/* --suite paper-high --format latex    a table of the paper, from your runs
  evalkit table runs/high/* --against paper                      measured beside published
  evalkit table runs/first runs/speed                             what codecs cost, beside how good they are
  evalkit table runs/librispeech --against field                 beside what other papers on codecs report
  evalkit table runs/librispeech --sanity                        whether the original and Mimi score as elsewhere
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
  evalkit plot runs/first --output plots/ --format pdf --size two
"""

LEADERBOARD_EXAMPLES = """examples:
  evalkit leaderboard runs/* --output site/
  evalkit leaderboard runs/mls44 --output site/ --hub-dataset mls44=OWNER/NAME --source https://example.org/board

site/index.html is the page, with its data inside; site/leaderboard.json is the same data for programs, site/runs/ has
each run's report and run.json, site/hub/ what the pages of models on the Hugging Face hub take.
"""

GATE_EXAMPLES = """examples:
  evalkit gate runs/good --update --baseline baseline.json
  evalkit gate runs/new --baseline baseline.json --junit gate.xml --summary gate.md
  evalkit gate runs/speed --update --baseline speed.json --reference opus@6k      a bench, as ratios to a codec in it
  evalkit gate runs/speed-now --baseline speed.json

a gate fails where the run is worse than the baseline by more than the margin, with confidence. Inside GitHub Actions
it writes annotations and the job's summary by itself.

exit codes:
  0 passed   1 failed   2 the two do not compare   4 too little was measured: not a pass
"""


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    _add_table(commands)
    _add_compare(commands)
    _add_drift(commands)
    _add_claims(commands)
    _add_report(commands)
    _add_leaderboard(commands)
    _add_plot(commands)
    _add_gate(commands)


def _add_table(commands: Any) -> None:
    command = add_command(commands, "table", table, "the table of one run or several", TABLE_EXAMPLES)
    command.add_argument("runs", nargs="+", type=file_path, metavar="RUN")
    add_format(command)
    command.add_argument("--metrics", type=words, metavar="NAME,…", help="which columns, in which order")
    command.add_argument("--codecs", type=words, metavar="NAME,…", help="which rows, in which order")
    command.add_argument("--suite", metavar="NAME", help="the rows and columns of a comparison of the paper")
    command.add_argument("--by", metavar="COLUMN", help="means by language (or another column) and macro average")
    command.add_argument(
        "--against", choices=["paper", "field"], help="published values beside each mean: of the NanoCodec "
        "paper, or of papers on codecs at 2.5 kbit/s and below",
    )  # fmt: skip
    command.add_argument(
        "--sanity", action="store_true", help="whether the run's original and Mimi agree with what six sources give"
    )
    command.add_argument(
        "--highlight", type=words, default=["best"], metavar="best,second",
        help="best of each metric in bold, second underlined; `none` marks nothing; default: best",
    )  # fmt: skip
    add_statistics(command)


def table(args: argparse.Namespace) -> int:
    from evalkit.pipeline.suites import load_suite
    from evalkit.reports.against import build_against_paper
    from evalkit.reports.bench import build_bench_tables
    from evalkit.reports.bench_beside import beside, read_all
    from evalkit.reports.breakdown import build_breakdown
    from evalkit.reports.field import build_against_field, build_sanity
    from evalkit.reports.render import HIGHLIGHTS, highlight
    from evalkit.reports.suite import build_suite_tables
    from evalkit.reports.table import build_tables

    if unknown := set(args.highlight) - {*HIGHLIGHTS, "none"}:
        raise UsageError(f"--highlight {','.join(sorted(unknown))}: choose from {', '.join(HIGHLIGHTS)} and none")
    runs, benches = read_all(args.runs)
    if not runs:
        if args.suite or args.against or args.by or args.metrics or args.codecs:
            raise UsageError("--suite, --against, --by, --metrics and --codecs are for runs: give one beside the bench")
        show(build_bench_tables(benches), args.format)
        return 0
    chosen = settings(args)
    if args.sanity:
        show(build_sanity(runs, chosen), args.format)
        return 0
    if args.suite and (args.metrics or args.codecs or args.against):
        raise UsageError("--suite chooses rows and columns: give it without --metrics, --codecs and --against")
    if args.suite:
        tables = build_suite_tables(runs, load_suite(args.suite), chosen)
    elif args.by:
        tables = build_breakdown(runs, args.by, args.metrics, chosen, args.codecs)
    elif args.against == "field":
        tables = build_against_field(runs, args.metrics, chosen, args.codecs)
    elif args.against:
        tables = build_against_paper(runs, args.metrics, chosen, args.codecs)
    else:
        tables = beside(build_tables(runs, args.metrics, chosen, args.codecs), benches)
    show([highlight(one, args.highlight) for one in tables], args.format)
    return 0


def _add_compare(commands: Any) -> None:
    command = add_command(commands, "compare", compare, "paired tests between the codecs of runs", COMPARE_EXAMPLES)
    command.add_argument("runs", nargs="+", type=file_path, metavar="RUN")
    command.add_argument("--codecs", type=words, metavar="NAME,…", help="default: all")
    command.add_argument("--metrics", type=words, metavar="NAME,…", help="default: every metric that ranks codecs")
    add_format(command)
    add_statistics(command)


def compare(args: argparse.Namespace) -> int:
    from evalkit.reports.compare import build_comparisons
    from evalkit.results.run import read_run

    runs = [read_run(path) for path in args.runs]
    show(build_comparisons(runs, args.codecs, args.metrics, settings(args)), args.format)
    return 0


def _add_drift(commands: Any) -> None:
    command = add_command(commands, "drift", drift, "two variants of a metric on the same audio", DRIFT_EXAMPLES)
    command.add_argument("runs", nargs="+", type=file_path, metavar="RUN")
    command.add_argument("first", metavar="METRIC")
    command.add_argument("second", metavar="VARIANT")
    add_format(command)
    add_statistics(command)


def drift(args: argparse.Namespace) -> int:
    from evalkit.reports.drift import build_drift
    from evalkit.results.run import read_run

    runs = [read_run(path) for path in args.runs]
    show(build_drift(runs, args.first, args.second, settings(args)), args.format)
    return 0


def _add_claims(commands: Any) -> None:
    command = add_command(commands, "claims", claims, "what runs say of the paper's claims", CLAIMS_EXAMPLES)
    command.add_argument("runs", nargs="+", type=file_path, metavar="RUN")
    add_format(command)
    add_statistics(command)


def claims(args: argparse.Namespace) -> int:
    from evalkit.reports.bench_beside import read_all
    from evalkit.reports.claims import build_claims, collapse

    runs, benches = read_all(args.runs)
    tables = build_claims(runs, settings(args), benches)
    show(collapse(tables) if args.format == "terminal" else tables, args.format)
    return 0


def _add_report(commands: Any) -> None:
    command = add_command(commands, "report", report, "a run as one HTML file: table, plots, players", REPORT_EXAMPLES)
    command.add_argument("runs", nargs="+", type=file_path, metavar="RUN")
    command.add_argument("--output", "-o", type=file_path, required=True, metavar="FILE.html")
    command.add_argument("--title", default="", metavar="TEXT", help="default: the codecs")
    command.add_argument("--metric", metavar="NAME", help="metric that picks the worst utterances; default: the first")
    command.add_argument(
        "--worst", type=int, default=2, metavar="N", help="worst utterances per codec; default: %(default)s"
    )
    command.add_argument("--random", type=int, default=4, metavar="N", help="random utterances; default: %(default)s")
    command.add_argument("--max-mb", type=float, default=24, metavar="MB", help="audio, at most; default: %(default)s")
    add_statistics(command)


def report(args: argparse.Namespace) -> int:
    from evalkit.reports.bench_beside import read_all
    from evalkit.reports.page import build_page

    runs, benches = read_all(args.runs)
    if not runs:
        raise UsageError("a report needs a run; `evalkit table` shows benches by themselves")
    budget = int(args.max_mb * 1e6)
    page = build_page(runs, args.title, args.metric, settings(args), args.worst, args.random, budget, benches)
    write_text(args.output, page)
    print(f"Report: {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)", file=sys.stderr)
    return 0


def _add_leaderboard(commands: Any) -> None:
    command = add_command(
        commands, "leaderboard", leaderboard, "runs as a static page: codecs, metrics, conditions", LEADERBOARD_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=file_path, metavar="RUN")
    command.add_argument("--output", "-o", type=file_path, required=True, metavar="DIR")
    command.add_argument("--title", default="Speech codecs", metavar="TEXT", help="default: %(default)s")
    command.add_argument("--no-reports", action="store_true", help="write no report of each run")
    command.add_argument(
        "--max-mb", type=float, default=24, metavar="MB", help="audio in each report, at most; default: %(default)s"
    )
    command.add_argument(
        "--hub-dataset", type=assignment, action="append", default=[], metavar="DATASET=OWNER/NAME",
        help="where a dataset is on the Hugging Face hub, for the exports; repeatable",
    )  # fmt: skip
    command.add_argument("--source", default="", metavar="URL", help="where the site will be, for the exports")
    add_statistics(command)


def leaderboard(args: argparse.Namespace) -> int:
    from evalkit.reports.leaderboard import build_leaderboard, write_site
    from evalkit.reports.page import build_page
    from evalkit.results.run import Run, read_run

    def report(run: Run) -> str:
        return build_page([run], settings=settings(args), budget=int(args.max_mb * 1e6))

    board = build_leaderboard(
        [read_run(path) for path in args.runs],
        args.title,
        settings(args),
        None if args.no_reports else report,
        dict(args.hub_dataset),
        args.source,
    )
    write_site(board, args.output)
    print_lines(board.notes)
    print(f"Leaderboard: {args.output / 'index.html'} ({len(board.files)} files)", file=sys.stderr)
    return 0


def _add_plot(commands: Any) -> None:
    command = add_command(commands, "plot", plot, "figures of runs: rate and quality, languages, scores", PLOT_EXAMPLES)
    command.add_argument("runs", nargs="+", type=file_path, metavar="RUN")
    command.add_argument("--output", "-o", type=file_path, required=True, metavar="DIR")
    command.add_argument("--format", default="svg", choices=["svg", "png", "pdf"])
    command.add_argument(
        "--size", default="one", choices=["one", "two"], help="columns of a paper's page; default: %(default)s"
    )
    command.add_argument("--title", action="store_true", help="say above each figure what it shows")
    add_statistics(command)


def plot(args: argparse.Namespace) -> int:
    from evalkit.reports.bench_beside import bench_plots, read_all
    from evalkit.reports.plots import all_plots, save_figures

    runs, benches = read_all(args.runs)
    if not runs:
        raise UsageError("plots need a run: quality over what codecs cost takes both a run and a bench")
    chosen = settings(args)
    figures = chain(all_plots(runs, chosen, args.size), bench_plots(runs, benches, chosen, args.size))
    for path in save_figures(figures, args.output, args.format, args.title):
        print(path)
    return 0


def _add_gate(commands: Any) -> None:
    command = add_command(commands, "gate", gate, "stop a codec that got worse: for CI", GATE_EXAMPLES)
    command.add_argument("run", type=file_path, metavar="RUN")
    command.add_argument("--baseline", type=file_path, required=True, metavar="FILE.json")
    command.add_argument("--update", action="store_true", help="write RUN as the new baseline, without comparing")
    command.add_argument("--config", type=file_path, metavar="FILE.yaml", help="margins; default: configs/gates.yaml")
    command.add_argument("--codec", metavar="NAME", help="hold this codec of RUN to the baseline's only one")
    command.add_argument(
        "--reference", metavar="NAME", help="with --update, of a bench: the codec that times are ratios to"
    )
    command.add_argument("--junit", type=file_path, metavar="FILE.xml", help="write JUnit XML")
    command.add_argument("--summary", type=file_path, metavar="FILE.md", help="write Markdown for a pull request")


def gate(args: argparse.Namespace) -> int:
    from evalkit.bench.directory import is_bench, read_bench
    from evalkit.reports import bench_gate, gate
    from evalkit.reports import gate_text as report
    from evalkit.results.run import read_run

    bench = read_bench(args.run) if is_bench(args.run) else None
    if bool(args.reference) != (bench is not None and args.update):
        raise UsageError(
            "--reference CODEC goes with --update of a bench, which needs it: speed is a ratio to its time"
        )
    if bench is not None and args.codec:
        raise UsageError("--codec is for runs: a bench is held to its baseline codec by codec")
    if args.update:
        if bench is None:
            gate.write_baseline(read_run(args.run), args.baseline)
        else:
            bench_gate.write_baseline(bench, args.reference, args.baseline)
        print(f"Baseline: {args.baseline}", file=sys.stderr)
        return 0
    rules = gate.read_rules(args.config)
    if bench is None:
        verdict = gate.check(read_run(args.run), gate.read_baseline(args.baseline), rules, args.codec)
    else:
        verdict = bench_gate.check(bench, args.baseline, rules)
    print(report.text(verdict))
    if args.junit:
        write_text(args.junit, report.junit(verdict))
    if args.summary:
        write_text(args.summary, report.markdown(verdict))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(report.annotations(verdict), end="")
        if step := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(step).open("a", encoding="utf-8") as file:
                file.write(report.markdown(verdict))
    return 0 if verdict.passed else 1

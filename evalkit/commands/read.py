"""Commands that read runs: table, compare, drift, claims, plot, report, leaderboard, gate."""

import argparse
import os
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.commands.options import add_command, add_format, add_statistics, assignment, finite, settings, words
from evalkit.commands.printing import print_lines, show, write_text
from evalkit.errors import GateError, UsageError
from evalkit.files import expanded

if TYPE_CHECKING:
    from evalkit.reports.gate import Undecided, Verdict

TABLE_EXAMPLES = """examples:
  evalkit table runs/first
  evalkit table runs/first runs/second --metrics pesq-wb,estoi --format markdown > table.md
  evalkit table runs/first --cluster speaker --ci none
  evalkit table runs/first --by language
  evalkit table runs/first --format latex --highlight best,second > table.tex
  evalkit table runs/high/* --suite paper-high --format latex    a table of the paper, from your runs
  evalkit table runs/high/* --against paper                      measured beside published values
  evalkit table runs/first runs/speed                            cost (from a bench) beside quality
  evalkit table runs/librispeech --against field                 values that other codec papers report, alongside
  evalkit table runs/librispeech --against mine.yaml             values of any paper (docs/howto/claims.md)
  evalkit table runs/librispeech --sanity                        do the original and Mimi score as in the literature?
"""

COMPARE_EXAMPLES = """examples:
  evalkit compare runs/first
  evalkit compare runs/first --codecs opus@6k,codec2@1.2k --metrics pesq-wb --cluster speaker
"""

DRIFT_EXAMPLES = """examples:
  evalkit run --codec mimi --codec opus@6k --metrics cer-mms,cer-mms:dtype=bfloat16 --output runs/both
  evalkit drift runs/both cer-mms cer-mms:dtype=bfloat16        is the faster variant close enough?
"""

CLAIMS_EXAMPLES = """examples:
  evalkit claims runs/mls44 runs/daps
  evalkit claims runs/librispeech --claims bigcodec                the included claims of another paper
  evalkit claims runs/mine --claims mine.yaml                      your own claims (docs/howto/claims.md)
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

site/index.html is the page, with its data; site/leaderboard.json has the same data for programs, site/runs/ each run's
report and run.json, and site/hub/ metadata for model cards and datasets on the Hugging Face Hub.
"""

GATE_EXAMPLES = """examples:
  evalkit gate runs/good --update --baseline baseline.json
  evalkit gate runs/new --baseline baseline.json --junit gate.xml --summary gate.md
  evalkit gate runs/speed --update --baseline speed.json --reference opus@6k      a bench: speed relative to a codec
  evalkit gate runs/speed-now --baseline speed.json

A gate fails if the run is significantly worse than the baseline by more than the margin. In GitHub Actions it also
writes annotations and the job's summary.

exit codes:
  0 passed   1 failed   2 not comparable   4 undecided: too little was measured to pass
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
    command = add_command(commands, "table", table, "print the results of one or more runs as a table", TABLE_EXAMPLES)
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    add_format(command)
    command.add_argument("--metrics", type=words, metavar="NAME,…", help="columns to show, in this order")
    command.add_argument("--codecs", type=words, metavar="NAME,…", help="rows to show, in this order")
    command.add_argument("--suite", metavar="NAME", help="show the rows and columns of a suite")
    command.add_argument(
        "--by", metavar="COLUMN", help="show means by language (or another column) and their macro average"
    )
    command.add_argument(
        "--against", metavar="paper|field|PAPER",
        help="show published values beside each mean: of the NanoCodec paper, of the field (papers on codecs at 2.5 "
        "kbit/s and below), or of a PAPER as in `evalkit claims --claims`",
    )  # fmt: skip
    command.add_argument(
        "--sanity",
        action="store_true",
        help="check that the run's original and Mimi agree with the values of six sources",
    )
    command.add_argument(
        "--highlight", type=words, default=["best"], metavar="best,second",
        help="mark the best of each metric in bold, the second underlined; `none` marks nothing; default: best",
    )  # fmt: skip
    add_statistics(command)


def table(args: argparse.Namespace) -> int:
    """`evalkit table`: print means with their intervals."""
    from evalkit.pipeline.suites import load_suite
    from evalkit.reports.against import build_against_paper
    from evalkit.reports.bench import build_bench_tables
    from evalkit.reports.bench_beside import beside, read_all
    from evalkit.reports.breakdown import build_breakdown
    from evalkit.reports.field import build_against_field, build_sanity
    from evalkit.reports.papers import load_paper
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
        raise UsageError("--suite chooses rows and columns: use it without --metrics, --codecs and --against")
    if args.suite:
        tables = build_suite_tables(runs, load_suite(args.suite), chosen)
    elif args.by:
        tables = build_breakdown(runs, args.by, args.metrics, chosen, args.codecs)
    elif args.against == "field":
        tables = build_against_field(runs, args.metrics, chosen, args.codecs)
    elif args.against:
        paper = None if args.against == "paper" else load_paper(args.against)
        tables = build_against_paper(runs, args.metrics, chosen, args.codecs, paper)
    else:
        tables = beside(build_tables(runs, args.metrics, chosen, args.codecs), benches)
    show([highlight(one, args.highlight) for one in tables], args.format)
    return 0


def _add_compare(commands: Any) -> None:
    command = add_command(
        commands, "compare", compare, "test differences between codecs, paired by utterance", COMPARE_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    command.add_argument("--codecs", type=words, metavar="NAME,…", help="codecs to compare; default: all")
    command.add_argument(
        "--metrics", type=words, metavar="NAME,…", help="metrics to compare; default: every metric that ranks codecs"
    )
    add_format(command)
    add_statistics(command)


def compare(args: argparse.Namespace) -> int:
    """`evalkit compare`: print paired tests between codecs."""
    from evalkit.reports.compare import build_comparisons
    from evalkit.results.run import read_run

    runs = [read_run(path) for path in args.runs]
    show(build_comparisons(runs, args.codecs, args.metrics, settings(args)), args.format)
    return 0


def _add_drift(commands: Any) -> None:
    command = add_command(
        commands, "drift", drift, "compare two variants of a metric on the same audio", DRIFT_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="runs that have both metrics")
    command.add_argument("first", metavar="METRIC", help="the metric to compare with")
    command.add_argument("second", metavar="VARIANT", help="the metric that might replace it")
    add_format(command)
    add_statistics(command)


def drift(args: argparse.Namespace) -> int:
    """`evalkit drift`: compare two variants of a metric."""
    from evalkit.reports.drift import build_drift
    from evalkit.results.run import read_run

    runs = [read_run(path) for path in args.runs]
    show(build_drift(runs, args.first, args.second, settings(args)), args.format)
    return 0


def _add_claims(commands: Any) -> None:
    command = add_command(commands, "claims", claims, "check a paper's claims against your runs", CLAIMS_EXAMPLES)
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    command.add_argument(
        "--claims", metavar="PAPER", help="a FILE.yaml with claims, or an included paper (bigcodec); default: "
        "the NanoCodec paper's",
    )  # fmt: skip
    add_format(command)
    add_statistics(command)


def claims(args: argparse.Namespace) -> int:
    """`evalkit claims`: check a paper's claims."""
    from evalkit.reports.bench_beside import read_all
    from evalkit.reports.claims import build_claims, collapse
    from evalkit.reports.papers import load_paper

    runs, benches = read_all(args.runs)
    paper = None if args.claims is None else load_paper(args.claims)
    tables = build_claims(runs, settings(args), benches, paper)
    show(collapse(tables) if args.format == "terminal" else tables, args.format)
    return 0


def _add_report(commands: Any) -> None:
    command = add_command(
        commands, "report", report, "write runs as one HTML file: tables, plots, audio players", REPORT_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    command.add_argument("--output", "-o", type=expanded, required=True, metavar="FILE.html", help="file to write")
    command.add_argument("--title", default="", metavar="TEXT", help="title of the page; default: the codecs")
    command.add_argument("--metric", metavar="NAME", help="metric that picks the worst utterances; default: the first")
    command.add_argument(
        "--worst", type=int, default=2, metavar="N", help="worst utterances to play per codec; default: %(default)s"
    )
    command.add_argument(
        "--random", type=int, default=4, metavar="N", help="random utterances to play; default: %(default)s"
    )
    command.add_argument(
        "--max-mb",
        type=finite,
        default=24,
        metavar="MB",
        help="maximum size of embedded audio, in MB; default: %(default)s",
    )
    add_statistics(command)


def report(args: argparse.Namespace) -> int:
    """`evalkit report`: write the HTML report."""
    from evalkit.reports.bench_beside import read_all
    from evalkit.reports.page import build_page

    runs, benches = read_all(args.runs)
    if not runs:
        raise UsageError("a report needs a run; for benches alone use `evalkit table`")
    budget = int(args.max_mb * 1e6)
    page = build_page(runs, args.title, args.metric, settings(args), args.worst, args.random, budget, benches)
    write_text(args.output, page)
    print(f"Report: {args.output} ({args.output.stat().st_size / 1e6:.1f} MB)", file=sys.stderr)
    return 0


def _add_leaderboard(commands: Any) -> None:
    command = add_command(
        commands, "leaderboard", leaderboard, "write runs as a static web page to filter and sort", LEADERBOARD_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    command.add_argument("--output", "-o", type=expanded, required=True, metavar="DIR", help="folder to write")
    command.add_argument(
        "--title", default="Speech codecs", metavar="TEXT", help="title of the page; default: %(default)s"
    )
    command.add_argument("--no-reports", action="store_true", help="do not write a report for each run")
    command.add_argument(
        "--max-mb",
        type=finite,
        default=24,
        metavar="MB",
        help="maximum size of audio per report, in MB; default: %(default)s",
    )
    command.add_argument(
        "--hub-dataset", type=assignment, action="append", default=[], metavar="DATASET=OWNER/NAME",
        help="a dataset's repository on the Hugging Face Hub, for the exports; repeatable",
    )  # fmt: skip
    command.add_argument("--source", default="", metavar="URL", help="address of the site, for the exports")
    add_statistics(command)


def leaderboard(args: argparse.Namespace) -> int:
    """`evalkit leaderboard`: write runs as a static site."""
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
    command = add_command(
        commands, "plot", plot, "draw figures: quality over bitrate, languages, distributions", PLOT_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    command.add_argument("--output", "-o", type=expanded, required=True, metavar="DIR", help="folder to write")
    command.add_argument(
        "--format", default="svg", choices=["svg", "png", "pdf"], help="file format; default: %(default)s"
    )
    command.add_argument(
        "--size", default="one", choices=["one", "two"],
        help="width: one or two columns of a paper; default: %(default)s",
    )  # fmt: skip
    command.add_argument("--title", action="store_true", help="put a title above each figure")
    add_statistics(command)


def plot(args: argparse.Namespace) -> int:
    """`evalkit plot`: write figures."""
    from evalkit.reports.bench_beside import bench_plots, read_all
    from evalkit.reports.plots import all_plots, save_figures

    runs, benches = read_all(args.runs)
    if not runs:
        raise UsageError("plots need a run; plots of quality over cost need a run and a bench")
    chosen = settings(args)
    figures = chain(all_plots(runs, chosen, args.size), bench_plots(runs, benches, chosen, args.size))
    for path in save_figures(figures, args.output, args.format, args.title):
        print(path)
    return 0


def _add_gate(commands: Any) -> None:
    command = add_command(commands, "gate", gate, "fail if a codec got worse than a baseline, for CI", GATE_EXAMPLES)
    command.add_argument("run", type=expanded, metavar="RUN", help="run or bench directory to check")
    command.add_argument(
        "--baseline", type=expanded, required=True, metavar="FILE.json", help="baseline to check against"
    )
    command.add_argument("--update", action="store_true", help="write RUN as the new baseline, without comparing")
    command.add_argument(
        "--config", type=expanded, metavar="FILE.yaml", help="margins and statistics; default: configs/gates.yaml"
    )
    command.add_argument("--codec", metavar="NAME", help="compare this codec of RUN with the baseline's only codec")
    command.add_argument(
        "--reference", metavar="NAME", help="with --update of a bench: store times relative to this codec"
    )
    command.add_argument("--junit", type=expanded, metavar="FILE.xml", help="write JUnit XML")
    command.add_argument("--summary", type=expanded, metavar="FILE.md", help="write Markdown for a pull request")


def gate(args: argparse.Namespace) -> int:
    """`evalkit gate`: hold a run or a bench to a baseline; returns 1 where it fails."""
    from evalkit.bench.directory import is_bench, read_bench
    from evalkit.reports import bench_gate, gate, gate_baseline
    from evalkit.reports import gate_text as report
    from evalkit.reports.gate_rules import read_rules
    from evalkit.results.run import read_run

    bench = read_bench(args.run) if is_bench(args.run) else None
    if bool(args.reference) != (bench is not None and args.update):
        raise UsageError(
            "--reference CODEC is for --update of a bench, which needs it: speed is stored relative to that codec"
        )
    if bench is not None and args.codec:
        raise UsageError("--codec is for runs: a bench is compared with its baseline codec by codec")
    if args.update:
        if bench is None:
            gate_baseline.write_baseline(read_run(args.run), args.baseline)
        else:
            bench_gate.write_baseline(bench, args.reference, args.baseline)
        print(f"Baseline: {args.baseline}", file=sys.stderr)
        return 0
    rules = read_rules(args.config)
    try:
        if bench is None:
            verdict = gate.check(read_run(args.run), gate_baseline.read_baseline(args.baseline), rules, args.codec)
        else:
            verdict = bench_gate.check(bench, args.baseline, rules)
    except GateError as error:  # no verdict: whoever reads the files must not take older ones for it
        _publish(args, gate.Undecided(str(error)))
        raise
    print(report.text(verdict))
    _publish(args, verdict)
    return 0 if verdict.passed else 1


def _publish(args: argparse.Namespace, verdict: "Verdict | Undecided") -> None:
    """Write what `args` ask for, and what GitHub reads."""
    from evalkit.reports import gate_text as report

    if args.junit:
        write_text(args.junit, report.junit(verdict))
    if args.summary:
        write_text(args.summary, report.markdown(verdict))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print(report.annotations(verdict), end="")
        if step := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(step).open("a", encoding="utf-8") as file:
                file.write(report.markdown(verdict))

"""The command line: commands, their arguments and their help. What each command does is in `evalkit.actions`."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evalkit import __version__, actions, interrupt
from evalkit.errors import EvalkitError

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
        with interrupt.remembered():
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

    run = _command(commands, "run", actions.run, "run codecs over a dataset and score what comes out", RUN_EXAMPLES)
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

    score = _command(commands, "score", actions.score, "score audio that was decoded elsewhere", SCORE_EXAMPLES)
    score.add_argument("--reference", type=Path, metavar="DIR")
    score.add_argument("--decoded", type=Path, metavar="DIR")
    score.add_argument("--manifest", type=Path, metavar="FILE.csv")
    _common(score)

    table = _command(commands, "table", actions.table, "the table of one run or several", TABLE_EXAMPLES)
    table.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    table.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    table.add_argument("--metrics", type=_words, metavar="NAME,…", help="which columns, in which order")
    table.add_argument("--codecs", type=_words, metavar="NAME,…", help="which rows, in which order")
    table.add_argument("--suite", metavar="NAME", help="the rows and columns of a comparison of the paper")
    table.add_argument("--by", metavar="COLUMN", help="means by language (or another column), and their macro average")
    table.add_argument("--against", choices=["paper"], help="each mean beside what is published of it")
    _statistics(table)

    compare = _command(
        commands, "compare", actions.compare, "paired tests between the codecs of runs", COMPARE_EXAMPLES
    )
    compare.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    compare.add_argument("--codecs", type=_words, metavar="NAME,…", help="default: all")
    compare.add_argument("--metrics", type=_words, metavar="NAME,…", help="default: all that have a better end")
    compare.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    _statistics(compare)

    drift = _command(commands, "drift", actions.drift, "two variants of a metric on the same audio", DRIFT_EXAMPLES)
    drift.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    drift.add_argument("first", metavar="METRIC")
    drift.add_argument("second", metavar="VARIANT")
    drift.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    _statistics(drift)

    claims = _command(commands, "claims", actions.claims, "what runs say of the paper's claims", CLAIMS_EXAMPLES)
    claims.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    claims.add_argument("--format", default="terminal", choices=["terminal", "markdown", "latex", "csv"])
    _statistics(claims)

    report = _command(
        commands, "report", actions.report, "a run as one HTML file: table, plots, players", REPORT_EXAMPLES
    )
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    report.add_argument("--output", "-o", type=Path, required=True, metavar="FILE.html")
    report.add_argument("--title", default="", metavar="TEXT", help="default: the codecs")
    report.add_argument("--metric", metavar="NAME", help="by which the worst utterances are chosen; default: the first")
    report.add_argument("--worst", type=int, default=2, metavar="N", help="of each codec to hear; default: %(default)s")
    report.add_argument("--random", type=int, default=4, metavar="N", help="to hear besides; default: %(default)s")
    report.add_argument("--max-mb", type=float, default=24, metavar="MB", help="of audio in it; default: %(default)s")
    _statistics(report)

    plot = _command(
        commands, "plot", actions.plot, "pictures of runs: rate and quality, languages, scores", PLOT_EXAMPLES
    )
    plot.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    plot.add_argument("--output", "-o", type=Path, required=True, metavar="DIR")
    plot.add_argument("--format", default="svg", choices=["svg", "png", "pdf"])
    _statistics(plot)

    gate = _command(commands, "gate", actions.gate, "stop a codec that got worse: for CI", GATE_EXAMPLES)
    gate.add_argument("run", type=Path, metavar="RUN")
    gate.add_argument("--baseline", type=Path, required=True, metavar="FILE.json")
    gate.add_argument("--update", action="store_true", help="write RUN as the baseline, and compare nothing")
    gate.add_argument("--config", type=Path, metavar="FILE.yaml", help="margins; default: those of configs/gates.yaml")
    gate.add_argument("--codec", metavar="NAME", help="hold this codec of RUN to the baseline's only one")
    gate.add_argument("--junit", type=Path, metavar="FILE.xml", help="write JUnit XML")
    gate.add_argument("--summary", type=Path, metavar="FILE.md", help="write Markdown for a pull request")

    listing = _command(commands, "list", actions.show_list, "codecs, metrics or datasets, and the state of each", "")
    listing.add_argument("what", choices=["codecs", "metrics", "datasets"])
    listing.add_argument("--json", action="store_true", help="for programs")

    merge = _command(commands, "merge", actions.merge, "join the shards of one run", MERGE_EXAMPLES)
    merge.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    merge.add_argument("--output", type=Path, required=True, metavar="DIR")
    merge.add_argument("--overwrite", action="store_true", help="replace the run that OUTPUT holds")
    _allowance(merge)

    fetch = _command(
        commands, "fetch", actions.fetch, "download weights and data ahead of time, and verify them", FETCH_EXAMPLES
    )
    fetch.add_argument("names", nargs="+", metavar="NAME", help="codecs (NAME[@RATE]), metrics and data")
    fetch.add_argument("--languages", metavar="de+pl", help="of metrics that have files for each; default: all")
    fetch.add_argument("--sha256", metavar="HEX", help="what a file that is code must be: it is not opened without")

    doctor = _command(
        commands, "doctor", actions.doctor, "what is here, what is missing, how to get it, and its license", ""
    )
    doctor.add_argument("--json", action="store_true", help="for programs")

    cache = _command(
        commands, "cache", actions.manage_cache, "what is kept of earlier runs, and how to be rid of it", ""
    )
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


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())

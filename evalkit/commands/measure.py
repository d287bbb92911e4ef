"""Commands that measure: run, score, merge, cache."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalkit.commands import config
from evalkit.commands.options import Registered, add_command, add_max_failed, add_weights, finite, positive, words
from evalkit.errors import UsageError
from evalkit.files import expanded, slug

if TYPE_CHECKING:
    from evalkit.commands.progress import Progress
    from evalkit.results.run import Run

RUN_EXAMPLES = """examples:
  evalkit run --codec nanocodec --bitrate 1.1k
  evalkit run --codec opus@6k --codec opus@12k --metrics pesq-wb,estoi --limit 4
  evalkit run --codec codec2 --bitrate 1.2k --save-audio --output runs/codec2
  evalkit run --codec old=nanocodec@1.1k --codec new=nanocodec@1.1k --weights new=w.safetensors
  evalkit run --codec ./mycodec.py:MyCodec --metrics pesq-wb
  evalkit run --codec nanocodec@1.1k --condition clean --condition noise:snr=10 --condition tandem:n=4
  evalkit run --suite paper-high --output runs/high            one run per dataset, in runs/high/
  evalkit run --suite offline --codec mimi@1.1k                a suite's data and metrics with another codec
  evalkit run --codec mimi --dataset mls:/data/mls --per-language 200 --metrics paper,available
  evalkit run --codec mimi --dataset daps:/data/daps,version=cleanraw,speakers=f10+m10

datasets, NAME[:PLACE][,OPTION=VALUE…]:
"""


def run_examples() -> str:
    """The epilog of `run`'s help: examples, and how datasets are named, from each loader."""
    from evalkit.datasets import usage_lines

    names = "\n".join(f"  {line}" for line in usage_lines())
    return f"{RUN_EXAMPLES}{names}\nWithout a place, evalkit looks in the folder that EVALKIT_DATA names.\n"


SCORE_EXAMPLES = """examples:
  evalkit score runs/first --metrics pesq-nb-16k               add a metric; other scores come from the cache
  evalkit score --reference originals/ --decoded decoded/      matches files by name: a/1.wav and a/1.flac
  evalkit score --reference originals/ --decoded decoded/ --match '{name}_dec'      a/1.wav and a/1_dec.wav
  evalkit score --reference originals/ --decoded mimi=out/1 --decoded opus=out/2     two systems by name
  evalkit score --reference originals.scp --decoded decoded.scp      Kaldi lists: one id and path per line
  evalkit score --reference originals/ --decoded decoded/ --align      if the codec's delay was not removed
  evalkit score --manifest pairs.csv --metrics pesq-wb,mel-2048-80-ln1p

A manifest is a CSV, TSV (*.tsv) or JSON-lines (*.jsonl) file with the columns utterance, reference and decoded;
system, language, speaker, transcript and bitrate_kbps are optional. Other columns are kept in the rows. Paths are
relative to the manifest's folder.
"""

MERGE_EXAMPLES = """examples:
  evalkit run --codec opus@6k --shard 1/2 --output runs/part-1
  evalkit run --codec opus@6k --shard 2/2 --output runs/part-2
  evalkit merge runs/part-1 runs/part-2 --output runs/whole
"""


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    _add_run(commands)
    _add_score(commands)
    _add_merge(commands)
    cache = add_command(commands, "cache", manage_cache, "show or clear the cache of scores and decoded audio")
    cache.add_argument("action", choices=["info", "clear"], help="print folder and size, or delete all entries")


def _add_run(commands: Any) -> None:
    command = add_command(commands, "run", run, "run codecs over a dataset and score the decoded audio", run_examples)
    command.add_argument(
        "--codec", action="append", metavar="NAME[@RATE]",
        help="a codec (`evalkit list codecs`) or FILE.py:NAME; repeatable. Add `available` to leave out codecs that "
        "cannot run here; by itself it means every codec that can",
    )  # fmt: skip
    command.add_argument(
        "--suite", metavar="NAME", help="a predefined set of codecs, data and metrics (`evalkit list suites`), or your "
        "own FILE.yaml; --codec, --dataset and --metrics override it",
    )  # fmt: skip
    command.add_argument("--bitrate", metavar="RATE", help="bitrate of every --codec without one: 1.1k, 6k, …")
    command.add_argument(
        "--dataset", metavar="NAME[:PLACE]",
        help="data to run on (`evalkit list datasets`); default: builtin, or the suite's",
    )  # fmt: skip
    add_weights(command)
    command.add_argument(
        "--rendered", action="append", default=[], metavar="[NAME=]DIR",
        help="audio decoded elsewhere, one file per utterance, named by its id; repeatable",
    )  # fmt: skip
    command.add_argument(
        "--condition", action="append", default=[], metavar="NAME[:OPTION=VALUE,…]",
        help="noise, packet loss, tandem coding or another change to audio, codes or codec (`evalkit list "
        "conditions`); repeatable",
    )  # fmt: skip
    command.add_argument("--limit", type=positive, metavar="N", help="draw N utterances, with --seed")
    command.add_argument(
        "--per-language", type=positive, metavar="N", help="draw N utterances of each language, with --seed"
    )
    command.add_argument(
        "--ids", type=expanded, metavar="FILE", help="take only the utterances whose ids FILE lists, one per line"
    )
    command.add_argument("--seed", type=int, default=0, help="seed of random draws; default: %(default)s")
    command.add_argument("--save-audio", action="store_true", help="keep originals and decoded audio in OUTPUT/audio")
    _add_common(command)


def run(args: argparse.Namespace) -> int:
    """`evalkit run`: encode, decode and score."""
    from evalkit import api
    from evalkit.commands.progress import Progress
    from evalkit.datasets import load_dataset

    if args.suite:
        return _run_suite(args)
    if not args.codec:
        raise UsageError("nothing to run: name a codec (--codec NAME@RATE) or a suite (--suite NAME)")
    data = load_dataset(args.dataset or "builtin", args.limit, args.seed, per_language=args.per_language, ids=args.ids)
    codecs = _codecs(args)
    with Progress("utterances") as progress:
        result = api.run(
            codecs, data, _metrics(args.metrics, data.languages), args.output,
            bitrate=args.bitrate, weights=args.weights, rendered=args.rendered, conditions=args.condition,
            **_options(args, progress),
        )  # fmt: skip
    config.write(result.path, args)
    return _conclude(result, args.max_failed)


def _run_suite(args: argparse.Namespace) -> int:
    """A run for each dataset of a suite, in folders of OUTPUT; the worst exit code of them."""
    from dataclasses import replace

    from evalkit.api import new_output
    from evalkit.pipeline.suites import AVAILABLE, expand_metrics, load_suite

    suite = load_suite(args.suite)
    if args.codec == [AVAILABLE]:
        args.codec = [AVAILABLE, *suite.codecs]
    if args.codec:
        suite = replace(suite, codecs=tuple(_codecs(args)))
    if args.dataset:
        suite = replace(suite, datasets=(args.dataset,))
    available = AVAILABLE in args.metrics or AVAILABLE in suite.metrics
    if args.metrics not in (["default"], [AVAILABLE]):
        suite = replace(suite, metrics=expand_metrics(args.metrics))
    suite.check(available, args.weights, args.rendered)
    output = args.output or new_output(suite.name)
    metrics = [*suite.metrics, *[AVAILABLE] * available]
    common = vars(args) | {"suite": None, "codec": list(suite.with_ceiling), "metrics": metrics}
    common["condition"] = args.condition or list(suite.conditions)
    kinds = {dataset: dataset.partition(":")[0] for dataset in suite.datasets}
    alone = [kind for kind, count in Counter(kinds.values()).items() if count == 1]
    places = {dataset: output / (kind if kind in alone else slug(dataset)) for dataset, kind in kinds.items()}
    return max(
        run(argparse.Namespace(**common | {"dataset": dataset, "output": place})) for dataset, place in places.items()
    )


def _add_score(commands: Any) -> None:
    command = add_command(
        commands, "score", score, "score audio decoded elsewhere, or add metrics to a run", SCORE_EXAMPLES
    )
    command.add_argument(
        "run", nargs="?", type=expanded, metavar="RUN", help="a finished run; --metrics are added to it"
    )
    command.add_argument(
        "--reference", type=expanded, metavar="DIR", help="original recordings: a folder or a Kaldi list (*.scp)"
    )
    command.add_argument(
        "--decoded", action="append", metavar="[NAME=]DIR",
        help="decoded recordings of one system: a folder or a Kaldi list (*.scp); repeatable",
    )  # fmt: skip
    command.add_argument(
        "--manifest", type=expanded, metavar="FILE", help="list of pairs: .csv, .tsv or .jsonl (see below)"
    )
    command.add_argument(
        "--match", metavar="PATTERN", help="pattern of decoded file names, such as {name}_dec for x.wav and x_dec.wav"
    )
    command.add_argument(
        "--name", metavar="NAME", help="name of the dataset; default: the name of the folder or manifest"
    )
    _add_common(command)


def score(args: argparse.Namespace) -> int:
    """`evalkit score`: score audio that was decoded elsewhere, or a finished run by more metrics."""
    from evalkit import api
    from evalkit.commands.progress import Progress

    if args.run:
        return _add_metrics(args)
    with Progress("pairs") as progress:
        result = api.score(
            args.reference, args.decoded, manifest=args.manifest, metrics=_metrics(args.metrics, ()),
            output=args.output, name=args.name, match=args.match, **_options(args, progress),
        )  # fmt: skip
    config.write(result.path, args)
    return _conclude(result, args.max_failed)


def _add_metrics(args: argparse.Namespace) -> int:
    """The run in args.run once more, by its own run.yaml, with more metrics: what it knows comes from the cache."""
    from evalkit.results.run import read_run
    from evalkit.results.run_directory import CONFIG

    if args.reference or args.decoded or args.manifest:
        raise UsageError("give either a RUN to add metrics to, or audio to score, not both")
    read_run(args.run)
    path = args.run / CONFIG
    if not path.is_file():
        raise UsageError(
            f"{args.run} has no {path.name} (only runs of the command line write one): run it again with more --metrics"
        )
    content = config.read(path)
    known = content.get("metrics") or ["default"]
    named = [word for one in (known if isinstance(known, list) else [known]) for word in words(str(one))]
    content["metrics"] = list(dict.fromkeys([*named, *args.metrics]))
    top = argparse.ArgumentParser(prog="evalkit")
    add(top.add_subparsers())
    again = config.parse(str(content.get(config.COMMAND, "run")), path, content, top)
    for name in ("device", "jobs", "batch", "executor", "timeout", "max_seconds", "debug", "fail_fast", "max_failed"):
        if (value := getattr(args, name)) != args.parser.get_default(name):
            setattr(again, name, value)
    again.output, again.overwrite = args.run, True
    return int(again.command(again))


def _add_merge(commands: Any) -> None:
    command = add_command(commands, "merge", merge, "merge the shards of a run", MERGE_EXAMPLES)
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories of all shards")
    command.add_argument("--output", type=expanded, required=True, metavar="DIR", help="run directory to write")
    command.add_argument("--overwrite", action="store_true", help="replace the run that OUTPUT holds")
    add_max_failed(command)


def merge(args: argparse.Namespace) -> int:
    """`evalkit merge`: join the shards of a run."""
    from evalkit.pipeline.merge import merge
    from evalkit.results.run import read_run

    merge(args.runs, args.output, args.overwrite)
    return _conclude(read_run(args.output), args.max_failed)


def manage_cache(args: argparse.Namespace) -> int:
    """`evalkit cache`: show or clear the cache."""
    from evalkit.cache import Cache, clear
    from evalkit.environment.folders import cache_folder

    if args.action == "clear":
        clear(cache_folder())
    with Cache(cache_folder()) as cache:
        for name, value in cache.info().items():
            print(f"{name}: {value}")
    return 0


def _add_common(command: argparse.ArgumentParser) -> None:
    """What `run` and `score` share."""
    command.add_argument(
        "--config", dest=config.RUN_CONFIG, metavar="FILE.yaml",
        help="read options from a file, such as the run.yaml of an earlier run; the command line overrides them",
    )  # fmt: skip
    command.add_argument(
        "--metrics", type=words, default=["default"], metavar="NAME,…",
        help="metrics or sets of metrics (`evalkit list metrics`), some with options (sqmos:reference=FILE). Add "
        "`available` to leave out metrics that cannot run here; default: default",
    )  # fmt: skip
    command.add_argument("--output", type=expanded, metavar="DIR", help="run directory; default: a new one in runs/")
    command.add_argument("--overwrite", action="store_true", help="replace the run that OUTPUT holds")
    command.add_argument("--no-cache", action="store_true", help="compute everything again and cache nothing")
    command.add_argument("--device", default="cpu", help="where neural models run: cpu or cuda; default: %(default)s")
    command.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="number of scoring processes; default: one per core, but at most one per GB of free memory",
    )
    command.add_argument(
        "--executor", default="processes", choices=Registered("executor"), metavar="NAME",
        help="where to score: %(choices)s. ray uses the cluster at RAY_ADDRESS; default: %(default)s",
    )  # fmt: skip
    command.add_argument(
        "--batch", type=positive, default=1, metavar="N",
        help="number of recordings that a metric's model, or a codec with batches, processes at once; default: "
             "%(default)s",
    )  # fmt: skip
    command.add_argument(
        "--timeout", type=finite, default=600.0, metavar="S",
        help="time limit in seconds for one codec or metric on one utterance; 0: no limit; default: %(default)g",
    )  # fmt: skip
    command.add_argument(
        "--max-seconds", type=finite, metavar="S",
        help="give recordings longer than S seconds a reason instead of scores; default: each metric's own limit",
    )  # fmt: skip
    command.add_argument("--align", action="store_true", help="compensate a constant delay of the decoded audio")
    command.add_argument("--debug", action="store_true", help="print the first traceback of each kind")
    command.add_argument("--fail-fast", action="store_true", help="stop at the first failure of a codec or metric")
    command.add_argument("--shard", metavar="i/n", help="run part i of n; `evalkit merge` joins the parts")
    add_max_failed(command)


def _codecs(args: argparse.Namespace) -> list[str]:
    """The codecs that --codec names; prints which of them `available` leaves out."""
    from evalkit.pipeline.choice import available_codecs

    names, left_out = available_codecs(args.codec, args.weights, args.rendered, args.bitrate)
    for name, remedy in left_out.items():
        print(f"left out because it cannot run here yet: {name}: {remedy}", file=sys.stderr)
    return names


def _metrics(wanted: Sequence[str], languages: Sequence[str]) -> tuple[str, ...]:
    """The metrics that --metrics names; prints which of them `available` leaves out."""
    from evalkit.pipeline.suites import available_metrics, missing_lines

    names, left_out = available_metrics(wanted, languages)
    if left_out:
        print(f"left out because they cannot run here yet:\n{missing_lines(left_out)}", file=sys.stderr)
    return names


def _options(args: argparse.Namespace, progress: "Progress") -> dict[str, Any]:
    """Fields of RunOptions, as far as the command has them."""
    from dataclasses import fields

    from evalkit.api import RunOptions

    given = vars(args) | {"cache": not args.no_cache, "progress": progress}
    return {item.name: given[item.name] for item in fields(RunOptions) if item.name in given}


def _conclude(result: "Run", max_failed: int) -> int:
    """Print the table and what failed; the exit code follows."""
    from evalkit.commands.printing import print_tables
    from evalkit.reports.table import build_tables
    from evalkit.results.rows import failed_utterances, to_rows
    from evalkit.streams import visible

    print_tables(build_tables([result]))
    failed = failed_utterances(to_rows(result.rows))
    for codec, reasons in failed.items():
        lack = "1 utterance lacks" if len(reasons) == 1 else f"{len(reasons)} utterances lack"
        print(visible(f"{codec}: {lack} a value, for example:"), file=sys.stderr)
        for utterance, reason in list(reasons.items())[:3]:
            print(visible(f"  {utterance}: {reason}"), file=sys.stderr)
    print(f"Results: {result.path}/ (rows.parquet, summary.csv, run.json)", file=sys.stderr)
    return 4 if any(len(reasons) > max_failed for reasons in failed.values()) else 0

"""The command that times: bench."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.commands.options import add_command, add_weights, finite, positive, words
from evalkit.errors import UsageError
from evalkit.files import expanded

if TYPE_CHECKING:
    from evalkit.bench.contenders import Contender

EXAMPLES = """examples:
  evalkit bench --codec nanocodec@1.1k --codec opus@6k
  evalkit bench --codec nanocodec@1.78k --codec lfsc --codec mimi --random-weights --output runs/speed
  evalkit bench --codec nanocodec@1.1k --codec nanocodec@1.1k:random     the built-in model beside the paper's
  evalkit bench --codec mimi:random --device cuda --batch 1,8,32 --measure count,time
  evalkit bench --codec lfsc --codec nanocodec@1.78k --random-weights --lm koel --cache full,upstream
  evalkit table runs/speed runs/first                                   speed beside quality

measurements (--measure), for encoding and decoding:
  count     parameters and multiply-accumulates, counted on the meta device
  latency   lookahead and receptive field, found by perturbing the input, and the algorithmic latency
  time      real-time factor (processing time / audio time), CPU seconds, energy if the machine reports it
  stream    first and later packets, if the codec streams
  memory    peak memory and start-up time, in a separate process
"""


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    command = add_command(commands, "bench", bench, "measure time, memory, operations and latency of codecs", EXAMPLES)
    command.add_argument(
        "--codec", action="append", required=True, metavar="NAME[@RATE][:random]",
        help="a codec (`evalkit list codecs`); `:random` gives it random weights of the released size; repeatable",
    )  # fmt: skip
    command.add_argument(
        "--random-weights",
        action="store_true",
        help="use random weights for codecs whose weights are not on this machine",
    )
    add_weights(command)
    command.add_argument("--device", default="cpu", help="where neural codecs run: cpu or cuda; default: %(default)s")
    command.add_argument("--threads", type=positive, metavar="N", help="number of torch threads; default: one per core")
    command.add_argument(
        "--batch",
        type=numbers,
        default=[1],
        metavar="N,…",
        help="batch sizes; 1 is always included; default: 1",
    )
    command.add_argument("--seconds", type=finite, metavar="S", help="seconds of audio; default: 10, with --lm 7.7")
    command.add_argument(
        "--rounds", type=whole, default=9, metavar="N",
        help="rounds, each timing every codec once; intervals need six, 0 skips timing; default: %(default)s",
    )  # fmt: skip
    _add_lm(command)
    command.add_argument(
        "--measure", type=words, metavar="NAME,…",
        help="what to measure (see below); default: count,latency,time,stream,memory",
    )  # fmt: skip
    command.add_argument("--output", type=expanded, metavar="DIR", help="bench directory; default: a new one in runs/")
    command.add_argument("--overwrite", action="store_true", help="replace the bench that OUTPUT holds")


def _add_lm(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("simulate a speech LLM with the codecs instead (random weights)")
    group.add_argument("--lm", metavar="NAME", help="size of the LM: koel, koel-1.1b, magpie, moshi (configs/lm/)")
    group.add_argument(
        "--cache", type=words, default=["full", "upstream"], metavar="NAME,…",
        help="what the LM caches: full; upstream (attention only, as in the authors' code); none; "
        "default: full,upstream",
    )  # fmt: skip
    group.add_argument(
        "--heads",
        metavar="NAME",
        help="how codebooks are predicted: parallel, local or delay; default: as published, with residual codebooks "
        "delayed rather than parallel",
    )
    group.add_argument(
        "--first-chunk", type=numbers, default=[1, 4], metavar="N,…", help="frames in the first chunk; default: 1,4"
    )
    group.add_argument(
        "--lookahead", type=words, default=["exact", "1%"], metavar="NAME,…",
        help="decoder lookahead that the first chunk waits for: exact, or 1%% for the part that changes more than 1%% "
        "of the peak; default: exact,1%%",
    )  # fmt: skip
    group.add_argument(
        "--cfg", type=finite, default=2.5, metavar="SCALE", help="classifier-free guidance; 1 for none; default: 2.5"
    )
    group.add_argument("--context", type=finite, default=5.0, metavar="S", help="seconds of context; default: 5")
    group.add_argument(
        "--analytic", type=words, default=[], metavar="HARDWARE,…",
        help="also calculate times for a100, h100, h200, or this (this machine's own limits)",
    )  # fmt: skip
    group.add_argument(
        "--lm-scale", metavar="WIDTHxLAYERS",
        help="size of the simulated LM, or `full`; default on a CPU: 256x4, with a vocabulary in proportion",
    )  # fmt: skip


def bench(args: argparse.Namespace) -> int:
    """`evalkit bench`: measure what codecs cost."""
    from evalkit.bench.contenders import contenders
    from evalkit.bench.directory import read_bench
    from evalkit.commands.printing import print_tables
    from evalkit.environment.machine import default_workers
    from evalkit.reports.bench import build_bench_tables

    found = contenders(args.codec, args.weights, args.random_weights)
    output = args.output or _new_output(found)
    common = {
        "contenders": found, "output": output, "device": args.device, "threads": args.threads or default_workers(),
        "rounds": args.rounds, "overwrite": args.overwrite,
    }  # fmt: skip
    if args.lm:
        _bench_lm(args, common)
    else:
        from evalkit.bench.run import PARTS, BenchPlan, execute

        batches = sorted({1, *args.batch})
        execute(BenchPlan(**common, seconds=args.seconds or 10.0, batches=batches, parts=args.measure or PARTS), _say)
    print_tables(build_bench_tables([read_bench(output)]))
    print(f"Results: {output}/ (bench.parquet, bench.json)", file=sys.stderr)
    return 0


def _bench_lm(args: argparse.Namespace, common: dict[str, Any]) -> None:
    from evalkit.bench.lm.config import Speech, load
    from evalkit.bench.lm.run import SCALED, LmPlan, execute

    if args.measure:
        raise UsageError("--measure is for benches without --lm")
    plan = LmPlan(
        **common,
        lm=load(args.lm),
        speech=Speech(args.seconds or 7.7, args.context, guidance=args.cfg),
        caches=args.cache,
        heads=args.heads,
        first=args.first_chunk,
        lookahead=args.lookahead,
        hardware=args.analytic,
        scale=_scale(args.lm_scale) if args.lm_scale else SCALED if args.device == "cpu" else None,
    )
    execute(plan, _say)


def _scale(text: str) -> tuple[int, int] | None:
    """Width and layers of `WIDTHxLAYERS`; None for `full`."""
    if text == "full":
        return None
    width, _, layers = text.partition("x")
    if not (width.isdigit() and layers.isdigit() and int(width) % 64 == 0 < int(width) and int(layers)):
        raise UsageError(
            f"--lm-scale {text}: write WIDTHxLAYERS, such as 256x4, with a width of whole heads of 64, or full"
        )
    return int(width), int(layers)


def numbers(text: str) -> list[int]:
    """The whole numbers, of at least 1, of a comma-separated list."""
    return [positive(word) for word in words(text)]


def whole(text: str) -> int:
    """A whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be below 0")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _new_output(found: "tuple[Contender, ...]") -> Path:
    from datetime import datetime

    from evalkit.files import slug

    return Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-bench-{slug('-'.join(one.spec for one in found))[:80]}"

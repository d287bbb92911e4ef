"""Commands about listening tests: listen export, listen power, listen import."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from evalkit.commands.options import add_command, add_format, positive, words
from evalkit.commands.printing import print_lines, show
from evalkit.files import expanded

if TYPE_CHECKING:
    from evalkit.reports.cells import Table

DESIGNS = ("mushra", "abx", "acr")

LISTEN_EXAMPLES = """examples:
  evalkit run --codec nanocodec@1.1k --codec opus@6k --codec codec2@1.2k --save-audio --output runs/first
  evalkit listen power --difference 5 --comparisons 3
  evalkit listen export runs/first --design mushra --output listening/first
  evalkit listen import listening/first mushra.csv --output runs/first-ratings
  evalkit compare runs/first-ratings --cluster listener,item
"""

EXPORT_EXAMPLES = """examples:
  evalkit listen export runs/first --design mushra --output listening/first
  cp -r listening/first/configs webMUSHRA/         then open http://…/webMUSHRA/?config=first.yaml
  evalkit listen export runs/first --design abx --codecs nanocodec@1.1k,opus@6k --items 8 --output listening/pairs
  evalkit listen export runs/first --design acr --url https://example.org/clips --output listening/crowd

test.json in OUTPUT maps stimuli to systems: the import needs it; listeners must not see it.
"""

POWER_EXAMPLES = """examples:
  evalkit listen power --difference 5
  evalkit listen power --difference 5 --comparisons 10 --items 16
  evalkit listen power --difference 4 --pilot runs/pilot-ratings
"""

IMPORT_EXAMPLES = """examples:
  evalkit listen import listening/first webMUSHRA/results/first/mushra.csv --output runs/first-ratings
  evalkit listen import listening/crowd Batch_1_batch_results.csv --output runs/crowd-ratings
  evalkit compare runs/first-ratings --cluster listener,item
"""


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    command = add_command(
        commands, "listen", listen, "plan listening tests, export them, import ratings", LISTEN_EXAMPLES
    )
    steps = command.add_subparsers(metavar="STEP")
    _add_export(steps)
    _add_power(steps)
    _add_import(steps)


def listen(args: argparse.Namespace) -> int:
    """`listen` without a step: the help."""
    args.parser.print_help()
    return 2


def _add_export(steps: Any) -> None:
    command = add_command(
        steps,
        "export",
        export_test,
        "write the stimuli and pages of a listening test with a run's audio",
        EXPORT_EXAMPLES,
    )
    command.add_argument("run", type=expanded, metavar="RUN", help="a run with audio (--save-audio)")
    command.add_argument("--design", required=True, choices=DESIGNS, help="design of the test")
    command.add_argument(
        "--output",
        "-o",
        type=expanded,
        required=True,
        metavar="DIR",
        help="folder to write; its name is the name of the test",
    )
    command.add_argument("--codecs", type=words, metavar="NAME,…", help="systems to test; default: all")
    command.add_argument(
        "--items", type=positive, default=12, metavar="N", help="number of utterances; default: %(default)s"
    )
    command.add_argument(
        "--metrics", type=words, metavar="NAME,…",
        help="choose the utterances on which the systems differ most by these; default: all that rank codecs",
    )  # fmt: skip
    command.add_argument("--condition", default="clean", metavar="NAME", help="condition to test; default: %(default)s")
    command.add_argument("--url", default="", metavar="URL", help="address of the clips of an acr test, once uploaded")
    command.add_argument("--seed", type=int, default=0, help="seed of the stimuli's names; default: %(default)s")


def export_test(args: argparse.Namespace) -> int:
    """`listen export`."""
    from evalkit.listening.export import export
    from evalkit.results.run import read_run

    kit, notes = export(
        read_run(args.run), args.design, args.output, args.items, args.codecs, args.metrics, args.condition, args.url,
        args.seed,
    )  # fmt: skip
    languages = sorted({one.language for one in kit.items.values()} - {""})
    print(f"{kit.id}: {len(kit.items)} items x {len(kit.stimuli)} stimuli, {kit.loudness:g} LUFS", end="")
    print(f", {', '.join(languages)}" if languages else "")
    for page, item in kit.items.items():
        print(f"  {page}  {item.utterance}  (systems {item.spread:.2f} standard deviations apart)")
    print_lines(notes)
    print(f"Listening test: {args.output}", file=sys.stderr)
    return 0


def _add_power(steps: Any) -> None:
    command = add_command(
        steps, "power", show_power, "calculate how many listeners and items a difference needs", POWER_EXAMPLES
    )
    command.add_argument(
        "--difference", type=float, required=True, metavar="D", help="difference to detect, in points of the scale"
    )
    command.add_argument("--design", default="mushra", choices=DESIGNS, help="design of the test; default: %(default)s")
    command.add_argument(
        "--comparisons",
        type=positive,
        default=1,
        metavar="N",
        help="pairs of systems to correct for; default: %(default)s",
    )
    command.add_argument("--items", type=positive, metavar="N", help="number of items; default: a range")
    command.add_argument("--listeners", type=positive, metavar="N", help="number of listeners; default: a range")
    command.add_argument(
        "--pilot", type=expanded, metavar="RUN", help="estimate the standard deviations from a run of ratings"
    )
    for what, of in (("listener", "listeners"), ("item", "items"), ("rating", "single ratings")):
        command.add_argument(
            f"--sd-{what}", type=float, metavar="SD", help=f"standard deviation of a difference between {of}"
        )
    add_format(command)


def show_power(args: argparse.Namespace) -> int:
    """`listen power`."""
    show([power_table(args)], args.format)
    return 0


def power_table(args: argparse.Namespace) -> "Table":
    """The table of `listen power`."""
    from dataclasses import replace
    from math import inf

    from evalkit.errors import UsageError
    from evalkit.listening.power import ASSUMED, MOST, grid, listeners_needed, spread_of
    from evalkit.reports.cells import Cell, Column, Table
    from evalkit.results.run import read_run
    from evalkit.stats.paired import POWER

    if not 0 < args.difference < inf:
        raise UsageError("--difference must be a number above 0")
    spread = ASSUMED[args.design] if args.pilot is None else spread_of(read_run(args.pilot).rows, args.design)
    given = {what: value for what in ("listener", "item", "rating") if (value := vars(args)[f"sd_{what}"]) is not None}
    if not all(0 <= value < inf for value in given.values()):
        raise UsageError("a standard deviation must be a number, 0 or more")
    spread = replace(spread, **given, source="as given" if len(given) == 3 else spread.source)
    listeners = [args.listeners] if args.listeners else [8, 12, 16, 20, 30, 40, 60]
    items = [args.items] if args.items else [8, 12, 16, 24]
    found = grid(args.difference, listeners, items, spread, args.comparisons)
    rows = [
        (Cell(str(n), n), *(Cell(f"{value:.0%}", value, best=value >= POWER) for value in line))
        for n, line in zip(listeners, found.tolist(), strict=True)
    ]
    needed = []
    for m in items:
        fewest = listeners_needed(args.difference, m, spread, args.comparisons)
        needed.append(f"{m} items: {f'more than {MOST}' if fewest is None else fewest}")
    notes = (
        f"Probability of finding a true difference of {args.difference:g} at 5 %, corrected over {args.comparisons} "
        "comparisons, by the test of `--cluster listener,item`.",
        f"Standard deviations of a difference: {spread.listener:.3g} between listeners, {spread.item:.3g} between "
        f"items, {spread.rating:.3g} between ratings ({spread.source}).",
        f"Listeners for {POWER:.0%}: {'; '.join(needed)}.",
    )
    columns = (Column("listeners", "Listeners"), *(Column(f"items{m}", f"{m} items") for m in items))
    return Table(f"Power of a test ({args.design})", columns, tuple(rows), notes)


def _add_import(steps: Any) -> None:
    command = add_command(steps, "import", import_ratings, "import ratings as rows of a run directory", IMPORT_EXAMPLES)
    command.add_argument("test", type=expanded, metavar="TEST", help="folder written by `listen export`")
    command.add_argument(
        "ratings", nargs="+", type=expanded, metavar="FILE.csv",
        help="webMUSHRA's mushra.csv or paired_comparison.csv, batch results of the P.808 toolkit, or a table with "
        "listener, clip, rating",
    )  # fmt: skip
    command.add_argument("--output", "-o", type=expanded, required=True, metavar="DIR", help="run directory")
    command.add_argument("--overwrite", action="store_true", help="replace the run that OUTPUT holds")


def import_ratings(args: argparse.Namespace) -> int:
    """`listen import`."""
    from evalkit.listening.collect import collect
    from evalkit.listening.kit import read_kit
    from evalkit.reports.table import build_tables
    from evalkit.stats import Settings

    run, notes = collect(read_kit(args.test), args.ratings, args.output, args.overwrite)
    show(build_tables([run], settings=Settings(cluster="listener,item")), "terminal")
    print_lines(notes)
    print(f"Run: {args.output}", file=sys.stderr)
    return 0

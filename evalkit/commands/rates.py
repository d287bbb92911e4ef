"""Commands about bits: rates, bd-rate."""

import argparse
from typing import Any

from evalkit.commands.options import add_command, add_format, add_statistics, settings, words
from evalkit.commands.printing import show
from evalkit.files import expanded

RATES_EXAMPLES = """examples:
  evalkit run --codec nanocodec@1.1k --codec opus@6k --output runs/first
  evalkit rates runs/first
  evalkit rates runs/first --plot use.pdf
"""

BD_RATE_EXAMPLES = """examples:
  evalkit run --codec opus@6k --codec opus@8k --codec opus@12k --codec codec2@1.2k --codec codec2@2.4k --output runs/all
  evalkit bd-rate runs/all --anchor opus --metrics pesq-wb,estoi
"""


def add(commands: Any) -> None:
    """Declare the commands of this file."""
    command = add_command(
        commands, "rates", rates, "measure the bitrate of codes: as sent, entropy, after coding", RATES_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    command.add_argument("--plot", type=expanded, metavar="FILE", help="plot codebook use: .svg, .png or .pdf")
    add_format(command)
    command = add_command(
        commands, "bd-rate", bd_rate, "compare families of codecs by Bjontegaard's delta rate", BD_RATE_EXAMPLES
    )
    command.add_argument("runs", nargs="+", type=expanded, metavar="RUN", help="run directories")
    command.add_argument("--anchor", metavar="NAME", help="family to compare the others with; default: every pair")
    command.add_argument(
        "--metrics", type=words, metavar="NAME,…", help="metrics to use; default: every metric that ranks codecs"
    )
    add_format(command)
    add_statistics(command)


def rates(args: argparse.Namespace) -> int:
    """`evalkit rates`: count the bits of codes."""
    from evalkit.errors import UsageError
    from evalkit.reports.plots import render
    from evalkit.reports.rates import build_ledger, codebook_use
    from evalkit.results.run import read_run

    runs = [read_run(path) for path in args.runs]
    if args.plot is not None:
        suffix = args.plot.suffix.removeprefix(".")
        if suffix not in ("svg", "png", "pdf"):
            raise UsageError(f"--plot {args.plot}: name a file that ends in .svg, .png or .pdf")
        content = render(codebook_use(runs), suffix)
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        args.plot.write_bytes(content)
    show(build_ledger(runs), args.format)
    return 0


def bd_rate(args: argparse.Namespace) -> int:
    """`evalkit bd-rate`: compare families of codecs by Bjontegaard's delta rate."""
    from evalkit.reports.bd_rate import build_bd_rates
    from evalkit.results.run import read_run

    runs = [read_run(path) for path in args.runs]
    show(build_bd_rates(runs, args.metrics, settings(args), args.anchor), args.format)
    return 0

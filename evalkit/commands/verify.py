"""`evalkit verify`."""

import argparse
from typing import Any

from evalkit.commands.options import add_command
from evalkit.errors import EvalkitError
from evalkit.files import expanded

VERIFY_EXAMPLES = """examples:
  evalkit verify lyra@3.2k dnsmos-ovrl pesq-wb
  evalkit verify lyra@3.2k --weights DIR        weights that are not in the cache
  evalkit verify mimi@1.1k --record             record its codes of three built-in utterances on this machine

Compares the weights' sha256, values that others published for the released weights, and recorded codes.
exit codes: 0 all agree; 3 something differs or is missing; 4 nothing to compare with
"""


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(
        commands, "verify", verify, "check that weights are the released ones and compute what upstream computes",
        VERIFY_EXAMPLES,
    )  # fmt: skip
    command.add_argument("names", nargs="+", metavar="NAME", help="codecs (NAME[@RATE]) and metrics")
    command.add_argument("--weights", type=expanded, metavar="PATH", help="check these weights (with one codec only)")
    command.add_argument(
        "--record", nargs="?", const="", metavar="FILE",
        help="record the codecs' codes of built-in utterances in FILE; default: this machine's record",
    )  # fmt: skip


def verify(args: argparse.Namespace) -> int:
    """`evalkit verify`: check that weights are the released ones."""
    from evalkit.environment import verify as verifying
    from evalkit.errors import UsageError

    if args.weights and len(args.names) > 1:
        raise UsageError("--weights is for a single codec: name only one")
    if args.record is not None:
        for name in args.names:
            print(f"{name}: {verifying.record(name, args.weights, expanded(args.record) if args.record else None)}")
        return 0
    verdicts: list[bool | None] = []
    for name in args.names:
        try:
            checks = list(verifying.verify(name, args.weights))
        except UsageError:
            raise
        except EvalkitError as error:
            print(f"{name}: missing: {error}")
            verdicts.append(False)
            continue
        for check in checks:
            mark = {True: "agrees", False: "DIFFERS", None: "unknown"}[check.agrees]
            print(f"{check.name}  {check.what}: {mark}: {check.found}{f' [{check.source}]' if check.source else ''}")
        verified, words = verifying.verdict(checks)
        print(f"{name}: {words}\n")
        verdicts.append(verified)
    return 3 if False in verdicts else 4 if None in verdicts else 0

"""`evalkit list`."""

import argparse
from typing import Any

from evalkit.commands.options import add_command
from evalkit.commands.printing import print_json, print_listing


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(commands, "list", show_list, "list codecs, metrics or datasets, and the state of each")
    command.add_argument("what", choices=["codecs", "metrics", "datasets"])
    command.add_argument("--json", action="store_true", help="for programs")


def show_list(args: argparse.Namespace) -> int:
    from evalkit.environment.listing import LISTINGS, show_codecs

    columns, rows = LISTINGS[args.what]()
    if args.json:
        print_json(columns, rows)
    else:
        notes: list[str] = []
        if args.what == "codecs":
            columns, rows, notes = show_codecs((columns, rows))
        print_listing(columns, rows)
        print("\n".join(notes))
    return 0

"""`evalkit doctor`."""

import argparse
from typing import Any

from evalkit.commands.options import add_command
from evalkit.commands.printing import print_json, print_listing


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(
        commands, "doctor", doctor, "check this installation: what is ready, what is missing, how to get it"
    )
    command.add_argument("--json", action="store_true", help="for programs")


def doctor(args: argparse.Namespace) -> int:
    from evalkit.environment.doctor import examine

    (print_json if args.json else print_listing)(*examine())
    return 0

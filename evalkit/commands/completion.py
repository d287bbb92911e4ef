"""`evalkit completion`."""

import argparse
from typing import Any

from evalkit.commands.options import add_command

EXAMPLES = """examples:
  evalkit completion bash > ~/.local/share/bash-completion/completions/evalkit
  evalkit completion zsh > ~/.zfunc/_evalkit      with ~/.zfunc in fpath, before compinit
"""


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(
        commands, "completion", completion, "print a shell completion script for commands and options", EXAMPLES
    )
    command.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="your shell")


def completion(args: argparse.Namespace) -> int:
    """`evalkit completion`: print the completion of a shell."""
    import shtab

    print(shtab.complete(args.top, shell=args.shell))
    return 0

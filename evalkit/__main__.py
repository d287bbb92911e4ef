"""`python -m evalkit`."""

from evalkit.cli import program

program()

"""Options that several commands share, and how a command is declared."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from evalkit import plugins

if TYPE_CHECKING:
    from evalkit.stats import Settings


class Registered(Iterable[str]):
    """Names that packages registered, as the choices of an option: they are looked up when it is used."""

    def __init__(self, kind: str, *more: str) -> None:
        """`more` are names beside those of `kind` (evalkit.plugins)."""
        self._kind, self._more = kind, more

    def __iter__(self) -> Iterator[str]:
        return iter([*self._more, *plugins.names(self._kind)])

    def __contains__(self, name: object) -> bool:
        return name in list(self)


def add_command(
    commands: Any,
    name: str,
    action: Callable[[argparse.Namespace], int],
    summary: str,
    epilog: str | Callable[[], str] = "",
) -> argparse.ArgumentParser:
    """The parser of the command `name`, which runs `action`. An `epilog` that takes time to make is a function: it is
    called for help only."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog if isinstance(epilog, str) else "",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if callable(epilog):

        def format_help() -> str:
            command.epilog = epilog()
            return type(command).format_help(command)

        command.format_help = format_help  # type: ignore[method-assign]
    command.set_defaults(command=action, parser=command)
    return command


def add_weights(command: argparse.ArgumentParser) -> None:
    """`--weights`."""
    command.add_argument(
        "--weights", action="append", default=[], metavar="[NAME=]PATH",
        help="load these weights (a file or folder) instead of the codec's own; repeatable",
    )  # fmt: skip


def add_max_failed(command: argparse.ArgumentParser) -> None:
    """`--max-failed`."""
    command.add_argument(
        "--max-failed", type=int, default=0, metavar="N",
        help="exit with 4 if more than N utterances of a codec lack the value of a metric; default: %(default)s",
    )  # fmt: skip


def add_format(command: argparse.ArgumentParser) -> None:
    """`--format` of tables."""
    command.add_argument(
        "--format", default="terminal", choices=Registered("format", "terminal"), metavar="FORMAT",
        help="%(choices)s; default: %(default)s",
    )  # fmt: skip


def add_statistics(command: argparse.ArgumentParser) -> None:
    """How means and differences are judged: what every command that reads runs shares."""
    command.add_argument(
        "--ci", default="t", choices=["t", "none"],
        help="95%% confidence interval of each mean: Student's t, corrected for skewness; default: %(default)s",
    )  # fmt: skip
    command.add_argument(
        "--cluster",
        metavar="COLUMN",
        help="treat all utterances of one `speaker` (or another column) as one cluster; for ratings: listener,item",
    )
    command.add_argument(
        "--correction", default="holm", choices=["holm", "bh", "none"],
        help="correct for multiple comparisons: Holm, Benjamini-Hochberg or none; default: %(default)s",
    )  # fmt: skip


def settings(args: argparse.Namespace) -> "Settings":
    """The statistics that the options of `add_statistics` ask for."""
    from evalkit.stats import Settings

    return Settings(interval=args.ci, cluster=args.cluster, correction=args.correction)


def assignment(text: str) -> tuple[str, str]:
    """Name and value of NAME=VALUE."""
    name, _, value = text.rpartition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def words(text: str) -> list[str]:
    """The words of a comma-separated list, each once."""
    return list(dict.fromkeys(word for word in text.split(",") if word))


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def finite(text: str) -> float:
    """A number of 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number, 0 or more")
    return value

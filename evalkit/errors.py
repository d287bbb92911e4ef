"""What can go wrong on a user's side, each with its exit code.

Exit codes: 0 done; 1 a gate failed; 2 usage; 3 environment (weights, data or an extra is missing);
4 more utterances failed than were allowed, or a gate could not be decided.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class EvalkitError(Exception):
    """A user's mistake or a missing piece: printed as one message, without a traceback."""

    exit_code = 2


class UsageError(EvalkitError):
    """The command line, a manifest or a name in it is wrong."""

    exit_code = 2


class MissingError(EvalkitError):
    """Weights, data or an optional package are not on this machine; the message says how to get them."""

    exit_code = 3


class AudioError(EvalkitError):
    """A file is not there, or is not audio that can be scored."""

    exit_code = 2


class CodecError(EvalkitError):
    """A codec failed on an utterance; the text is the reason of its rows."""


class FailFastError(EvalkitError):
    """Somebody else's code failed, and the run was to stop there."""

    exit_code = 4


class GateError(EvalkitError):
    """There was too little to compare: that is neither passed nor failed."""

    exit_code = 4


class DeadlineError(BaseException):
    """Code took longer than it was given; the text says how long that was. No Exception: code that goes on after any of
    those would go on after this one."""


class UndefinedScore(Exception):
    """A metric has no value for this pair; the text is the row's reason."""


LONGEST_REASON = 1000
"""Characters of a foreign error that become a reason."""
MOST_SUGGESTIONS = 4


def text_of(error: BaseException) -> str:
    """What `error` says, in one line that any file can hold; an error of somebody else may fail even at that."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        return "(no message)"
    return text[:LONGEST_REASON].encode("utf-8", "backslashreplace").decode()


def describe(error: BaseException) -> str:
    """An exception that nobody expected, in one line."""
    return f"{type(error).__name__}: {text_of(error)}"


def choose_from(kind: str, name: str, known: list[str]) -> UsageError:
    """The error for an unknown name: what was asked for, what may have been meant, and what is known."""
    all_of_them = f"Known: {', '.join(sorted(known))}."
    if "metric" in (kinds := kind.replace(" or ", ", ").split(", ")):  # there are about sixty
        all_of_them = f"`evalkit list {'|'.join(f'{one}s' for one in kinds)}` shows all."
    return UsageError(f"unknown {kind} {name!r}.{did_you_mean(name, known)} {all_of_them}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names what may have been meant, after a space: names with a part that begins like `name`, as
    `utmos22-strong` for `UTMOS`, or else the one spelled most like it. Empty where there is none."""
    wanted = "-" + name.lower().replace("_", "-")
    close = sorted(one for one in known if name and wanted in "-" + one.lower())
    found = [repr(one) for one in close[:MOST_SUGGESTIONS] or get_close_matches(name, known, n=1)]
    if not found:
        return ""
    *others, last = found
    return f" Did you mean {', '.join(others)} or {last}?" if others else f" Did you mean {last}?"

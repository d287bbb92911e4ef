"""Entry point of `evalkit`: its commands (evalkit/commands/) and what exit code each error has."""

import argparse
import atexit
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import thread as pools
from contextlib import suppress
from tempfile import NamedTemporaryFile
from typing import NoReturn

from evalkit import interrupt, streams
from evalkit.commands import bench, completion, doctor, fetch, listen, listing, measure, new, rates, read, verify
from evalkit.commands.config import with_config
from evalkit.environment.contained import contained, exit_refused
from evalkit.environment.machine import DISTRIBUTION, package_version
from evalkit.errors import DeadlineError, EvalkitError, UsageError, describe

EXAMPLES = """examples:
  evalkit run --codec nanocodec --bitrate 1.1k
  evalkit run --codec nanocodec@1.1k --codec opus@6k --codec codec2@1.2k --output runs/first
  evalkit score --reference originals/ --decoded decoded/
  evalkit table runs/first --format latex
  evalkit gate runs/first --baseline baseline.json
  evalkit list codecs

exit codes:
  0 done   1 a gate failed   2 usage   3 weights, data, an extra or disk space is missing
  4 more utterances failed than --max-failed, or a gate could not be decided   70 a bug   130 interrupted
"""

BUG = 70
PATIENCE = 5.0
"""Seconds to wait for threads of others at the end."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""What the system says where a file cannot grow."""
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
"""What it says where it gives no more open files, memory or processes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `evalkit`; returns the exit code."""
    # While codecs encode, metrics are scored on the same cores. Threads of torch that wait for each other must not spin
    # then: on busy cores that costs ten times the work itself. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with streams.tolerant():
            return _run(sys.argv[1:] if argv is None else argv)
    except OSError as error:  # the last results did not fit
        return _report_lack(error, "free some space")


def program() -> NoReturn:
    """`evalkit` as a program: ends with the exit code of `main`, whatever a codec has left to itself: threads that
    never end, for which Python would wait, or functions that it registered for the end."""
    leave = os._exit
    with exit_refused:
        code = main()
        with suppress(OSError), streams.tolerant():
            _join_threads()
            _run_exit_functions(code, leave)
    leave(code)
    raise AssertionError


def _join_threads() -> None:
    # Idle threads of pools end when they are told to. Python tells them only once all other threads have ended.
    end_pools = threading.Thread(target=pools._python_exit, daemon=True)
    end_pools.start()
    left = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    for thread in (*left, end_pools):
        thread.join(PATIENCE / (len(left) + 1))
    if alive := sum(thread.is_alive() for thread in left):
        print(f"evalkit: exiting although {alive} thread(s) of a plugin are still running", file=sys.stderr)


def _run_exit_functions(code: int, leave: Callable[[int], None]) -> None:
    """What `atexit` has, of libraries and of plugins; `leave` with `code` where one of them never ends."""
    sys.unraisablehook = lambda error: print(
        f"evalkit: a function registered to run at exit failed: {describe(error.exc_value or error.exc_type())}",
        file=sys.stderr,
    )
    never = threading.Timer(2 * PATIENCE, leave, [code])
    never.daemon = True
    never.start()
    with suppress(DeadlineError), contained(PATIENCE):
        atexit._run_exitfuncs()


def _run(argv: Sequence[str]) -> int:
    top = parser()
    try:
        args = top.parse_args(with_config(argv, top))
        command: Callable[[argparse.Namespace], int] = args.command
        with interrupt.remembered():
            return command(args)
    except EvalkitError as error:
        print(f"evalkit: {streams.visible_lines(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        where = " ".join(getattr(error, "__notes__", ()))
        print(f"evalkit: interrupted; finished work is kept. {where}".rstrip(), file=sys.stderr)
        by = next((one for one in interrupt.SIGNALS if error.args == (one,)), signal.SIGINT)  # or a codec
        return 128 + by
    except Exception as error:
        if remedy := _remedy(error):
            return _report_lack(error, remedy)
        if isinstance(error, OSError) and isinstance(error.filename, str):  # a path that cannot be, or is gone
            print(f"evalkit: {streams.visible(error.filename)[:300]}: {error.strerror}", file=sys.stderr)
            return UsageError.exit_code
        said = str(error)
        if said == "embedded null byte" or said.startswith("Symlink loop"):  # of paths; there is no type for it
            print(f"evalkit: a path cannot be used: {streams.visible(said)}", file=sys.stderr)
            return UsageError.exit_code
        return _report_bug(error)


def _remedy(error: Exception) -> str:
    """What to do where the system lacks what the command needs; "" for every other error."""
    if isinstance(error, OSError) and error.errno in FULL:
        return "free some space"
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SCARCE):
        return "free some memory, or raise the limits that `ulimit -a` shows,"
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):  # of the module tempfile
        return "set TMPDIR to a folder that can be written and has room,"
    return ""


def _report_lack(error: Exception, remedy: str) -> int:
    said = str(error) or "out of memory"
    print(f"evalkit: {said}. Finished work is kept: {remedy} and run the same command again.", file=sys.stderr)
    return 3


def _report_bug(error: Exception) -> int:
    """Say in one line that this should not have happened, and keep the traceback."""
    text = "".join(traceback.format_exception(error))
    kind = streams.visible(f"{type(error).__name__}: {error}")[:300]
    try:
        with NamedTemporaryFile("w", prefix="evalkit-", suffix=".txt", delete=False, errors="backslashreplace") as file:
            file.write(f"evalkit {package_version(DISTRIBUTION)}, Python {sys.version}\n{sys.argv}\n\n{text}")
    except OSError:  # no place for it
        print(f"evalkit: this is a bug: {kind}. Please report it with these lines:\n{text}", file=sys.stderr)
    else:
        print(f"evalkit: this is a bug: {kind}. Please report it and attach {file.name}", file=sys.stderr)
    return BUG


def parser() -> argparse.ArgumentParser:
    """The parser of `evalkit`, with every command."""
    top = argparse.ArgumentParser(
        prog="evalkit",
        description="Measure neural speech codecs: encode, decode, score, compare.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"evalkit {package_version(DISTRIBUTION)}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for group in (measure, bench, read, rates, listen, listing, new, fetch, verify, doctor, completion):
        group.add(commands)
    top.set_defaults(top=top)
    return top


if __name__ == "__main__":
    program()

"""Runs commands of evalkit: a JSON list of arguments a line in, exit code and what it printed a line out.

One process for many commands: importing torch and transformers takes longer than most of them.
"""

import contextlib
import io
import json
import sys


def main() -> None:
    """Until standard input ends."""
    from evalkit.cli import main as evalkit

    answers = sys.stdout
    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = evalkit(json.loads(line))
            except SystemExit as error:  # argparse
                code = error.code
        print(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}), file=answers, flush=True)


if __name__ == "__main__":
    main()

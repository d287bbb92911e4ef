"""`evalkit fetch`."""

import argparse
import sys
from typing import Any

from evalkit.commands.options import add_command
from evalkit.errors import UsageError

FETCH_EXAMPLES = """examples:
  evalkit fetch mimi@1.1k nanocodec@0.6k
  evalkit fetch sqmos cer-mms --languages de+pl
  evalkit fetch METRIC --sha256 HEX            a plugin's model file that is code: pin the sha256 that you trust
  evalkit fetch mls44                          the paper's test set (2.1 GB), into the folder EVALKIT_DATA
  evalkit fetch librispeech                    LibriSpeech test-clean (347 MB), unpacked there

Some weights are for non-commercial use only: `evalkit doctor` says which. HF_ENDPOINT sets another hub, and
EVALKIT_MIRROR names a file with other addresses and sha256 (docs/explanation/weights.md).
"""


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(
        commands, "fetch", fetch, "download weights and data ahead of time and verify them", FETCH_EXAMPLES
    )
    command.add_argument("names", nargs="+", metavar="NAME", help="codecs (NAME[@RATE]), metrics and datasets")
    command.add_argument(
        "--languages", metavar="de+pl", help="languages, for metrics with a file per language; default: all"
    )
    command.add_argument(
        "--sha256",
        metavar="HEX",
        help="the sha256 you trust for a model file that is code and has no recorded one; without it, the file is "
        "not loaded",
    )


def fetch(args: argparse.Namespace) -> int:
    """`evalkit fetch`: download weights and data."""
    from evalkit.commands.progress import Progress
    from evalkit.datasets.languages import codes
    from evalkit.environment import downloads
    from evalkit.environment.fetch import fetch_codecs, fetch_files, files_of
    from evalkit.pipeline.choice import choose

    known = {name: files_of(name, codes(args.languages)) for name in args.names}
    choices = [choose(name) for name, files in known.items() if files is None]
    files = list(dict.fromkeys(file for some in known.values() for file in some or ()))
    code = [file for file in files if file.code]
    if args.sha256:
        if len(code) != 1:
            raise UsageError("--sha256 is for a metric with one file that is code: evalkit fetch METRIC --sha256 HEX")
        downloads.pin(code[0], args.sha256)
    missing = [file for file in files if file.find() is None]
    for line in downloads.describe(missing):
        print(line, file=sys.stderr)
    if len(missing) > 1:
        print(f"{downloads.megabytes(sum(file.size for file in missing))} to download", file=sys.stderr)
    with Progress("MB", 1e6) as progress:
        progress.start(sum(file.size for file in missing))
        for file, path in fetch_files(files, progress.advance):
            print(f"{file}: {path}")
    for name, some in known.items():
        if some == ():
            print(f"{name}: needs no download")
    for choice, found in fetch_codecs(choices):
        print(f"{choice.spec}: {found or 'needs no weights'}")
    return 0

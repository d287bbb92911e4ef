"""`evalkit new`."""

import argparse
import keyword
import re
from importlib import resources
from pathlib import Path
from typing import Any

from evalkit.commands.options import add_command
from evalkit.commands.printing import print_lines
from evalkit.errors import UsageError
from evalkit.files import expanded

EXAMPLES = """The template is a working codec (8 bits per sample) with a passing test: replace its model with yours.

  evalkit new codec mycodec
  python -m pytest test_mycodec.py
  evalkit run --codec ./mycodec.py:CODEC --metrics pesq-wb,estoi
"""


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(commands, "new", new, "write a template of a codec and its test", EXAMPLES)
    command.add_argument("what", choices=("codec",), help="what to write")
    command.add_argument("name", metavar="NAME", help="a Python module name: lower-case letters, digits and _")
    command.add_argument(
        "--output", metavar="DIR", default=".", help="folder for the two files; default: the current one"
    )


def new(args: argparse.Namespace) -> int:
    """`evalkit new`: write a codec to start from."""
    for path in write_codec(args.name, expanded(args.output)):
        print_lines([str(path)])
    return 0


def write_codec(name: str, folder: Path) -> list[Path]:
    """Write `NAME.py` and `test_NAME.py` into `folder`, and return their paths.

    Raises:
        UsageError: the name is none for a module, or a file is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} is not a valid module name: use lower-case letters, digits and _, and not a Python keyword"
        )
    templates = resources.files("evalkit.commands") / "templates"
    files = {folder / f"{name}.py": "codec.py.txt", folder / f"test_{name}.py": "test_codec.py.txt"}
    for path in files:
        if path.exists():
            raise UsageError(f"{path} already exists: choose another name or --output")
    folder.mkdir(parents=True, exist_ok=True)
    title = "".join(part.capitalize() for part in name.split("_"))
    for path, file in files.items():
        text = (templates / file).read_text(encoding="utf-8").replace("MyCodec", title).replace("mycodec", name)
        path.write_text(text, encoding="utf-8")
    return list(files)

"""`evalkit new`."""

import argparse
import re
from importlib import resources
from pathlib import Path
from typing import Any

from evalkit.commands.options import add_command
from evalkit.commands.printing import print_lines
from evalkit.errors import UsageError

EXAMPLES = """the codec runs as it is written (8 bits a sample), and its test passes: put yours in its place.

  evalkit new codec mycodec
  python -m pytest test_mycodec.py
  evalkit run --codec ./mycodec.py:CODEC --metrics pesq-wb,estoi
"""


def add(commands: Any) -> None:
    """Declare the command of this file."""
    command = add_command(commands, "new", new, "write a codec of your own and its test, to start from", EXAMPLES)
    command.add_argument("what", choices=("codec",))
    command.add_argument("name", metavar="NAME", help="lower-case letters, digits and _, as Python names modules")
    command.add_argument("--output", metavar="DIR", default=".", help="folder for the two files; default: this one")


def new(args: argparse.Namespace) -> int:
    for path in write_codec(args.name, Path(args.output).expanduser()):
        print_lines([str(path)])
    return 0


def write_codec(name: str, folder: Path) -> list[Path]:
    """Write `NAME.py` and `test_NAME.py` into `folder`, and return their paths.

    Raises:
        UsageError: the name is none for a module, or a file is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"{name!r} cannot be a module's name: use lower-case letters, digits and _")
    templates = resources.files("evalkit.commands") / "templates"
    files = {folder / f"{name}.py": "codec.py.txt", folder / f"test_{name}.py": "test_codec.py.txt"}
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is there already: choose another name or --output")
    folder.mkdir(parents=True, exist_ok=True)
    title = "".join(part.capitalize() for part in name.split("_"))
    for path, file in files.items():
        text = (templates / file).read_text(encoding="utf-8").replace("MyCodec", title).replace("mycodec", name)
        path.write_text(text, encoding="utf-8")
    return list(files)

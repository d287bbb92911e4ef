"""A whole `run` or `score` as a file: what `--config run.yaml` reads, and what every run leaves of itself.

A file names options as the command line does, without the dashes: `codec: [nanocodec@1.1k, opus@6k]`, `limit: 8`,
`save-audio: true`. Where the command line names an option as well, it replaces the file's.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError, choose_from
from evalkit.files import expanded, shown

RUN_CONFIG = "run_config"
"""Where the parser keeps the `--config` of a run; the one of `gate` is another, with margins."""
COMMAND = "command"
"""The key that names the command; `run` where it is absent."""
APART = ("help", "config", "output", "overwrite")
"""Options that say where a run lies: no file of a run has them."""


def with_config(argv: Sequence[str], top: argparse.ArgumentParser) -> list[str]:
    """`argv` with the options of its `--config FILE` in place of that.

    Raises:
        UsageError: The file cannot be read, or names what the command does not have.
    """
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--config")
    command = argv[0] if argv else ""
    parser = _commands(top).get(command)
    if parser is None or not any(action.dest == RUN_CONFIG for action in parser._actions):
        return list(argv)
    found, rest = own.parse_known_args(argv[1:])
    if found.config is None:
        return list(argv)
    path = expanded(found.config)
    return [command, *arguments(read(path), parser, rest, path), *rest]


def read(path: Path) -> dict[str, Any]:
    """What the file `path` says; raises UsageError where it is not a mapping of options."""
    import yaml

    from evalkit.datasets.tables import read_text
    from evalkit.schema import read_yaml

    try:
        content = read_yaml(read_text(path))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} must name options and their values, for instance `codec: [opus@6k]`")
    return content


def arguments(
    content: Mapping[str, Any], parser: argparse.ArgumentParser, given: Sequence[str], path: Path
) -> list[str]:
    """The options in the file `path` as arguments of `parser`, without those that are `given` on the command line."""
    command = parser.prog.split()[-1]
    if (meant := content.get(COMMAND, "run")) != command:
        raise UsageError(f"{path} is for `evalkit {meant}`, not for `evalkit {command}`")
    options = {name[2:]: action for action in parser._actions for name in action.option_strings if name[:2] == "--"}
    known = sorted(options.keys() - {"help", "config"})
    said = {word.partition("=")[0][2:] for word in given if word.startswith("--")}
    words = []
    for key, value in content.items():
        name = str(key).replace("_", "-")
        if name == COMMAND or name in said or value is None:
            continue
        if name not in known:
            raise choose_from(f"option in {path}:", name, known)
        if options[name].nargs == 0:
            if not isinstance(value, bool):
                raise UsageError(f"{path}: {name} must be true or false, not {value!r}")
            words += [f"--{name}"] if value else []
        elif isinstance(value, list) and isinstance(options[name], argparse._AppendAction):
            words += [f"--{name}={one}" for one in value]
        else:
            words.append(f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return words


def write(folder: Path, args: argparse.Namespace) -> None:
    """Leave in the run directory `folder` what was asked for, as far as it is not what is meant without it."""
    import yaml

    from evalkit.results.run_directory import CONFIG
    from nanocodec.atomic import replacing

    parser = args.parser
    content: dict[str, Any] = {COMMAND: parser.prog.split()[-1]}
    for action in parser._actions:
        name = max(action.option_strings, key=len, default="").removeprefix("--")
        value = getattr(args, action.dest, None)
        if name and name not in APART and value is not None and value != parser.get_default(action.dest):
            plain = isinstance(value, bool | int | float | str)
            content[name] = value if plain else [str(one) for one in value] if isinstance(value, list) else str(value)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    with replacing(folder / CONFIG) as partial:
        partial.write_text(f"# evalkit {content[COMMAND]} --config {shown(folder / CONFIG)}\n{text}", encoding="utf-8")


def parse(command: str, path: Path, content: Mapping[str, Any], top: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of `command` that `content`, read from `path`, stands for."""
    if command not in (commands := _commands(top)):
        raise choose_from(f"command in {path}:", command, list(commands))
    return top.parse_args([command, *arguments(content, commands[command], [], path)])


def _commands(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(found).choices)

"""Finding codecs, metrics, datasets and conditions by name: entry points, files, and objects.

A package registers its own with, for instance,

    [project.entry-points."evalkit.codecs"]
    mycodec = "mypackage.evalkit_codec:FAMILY"

and evalkit's own are registered the same way (pyproject.toml), as are formats of tables (`evalkit.formats`) and
executors (`evalkit.executors`). Without a package, `FILE.py:NAME` names an object in a
file, and `register` takes an object of this process. Nothing is imported until it is asked for.
"""

import importlib.util
import os.path
import re
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from evalkit.environment.contained import contained
from evalkit.errors import MissingError, UsageError, choose_from, describe
from evalkit.files import expanded

_OPTION = re.compile(r"([a-z][a-z0-9_-]*)=(.*)", re.DOTALL)
_IN_FILE = re.compile(r"(?P<file>.*\.py):(?P<name>[A-Za-z_]\w*)")

GROUPS = {
    "codec": "evalkit.codecs",
    "metric": "evalkit.metrics",
    "dataset": "evalkit.datasets",
    "condition": "evalkit.conditions",
    "format": "evalkit.formats",
    "executor": "evalkit.executors",
}

_REGISTERED: dict[tuple[str, str], Any] = {}
"""Objects of this process, by kind and name."""
_BY_VALUE: set[str] = set()
"""Modules that other processes cannot import by name."""


@cache
def _found(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def names(kind: str) -> list[str]:
    """Sorted names of what is registered; `kind` is "codec", "metric", "dataset" or "condition"."""
    return sorted({*_found(kind), *(name for of, name in _REGISTERED if of == kind)})


def installed(kind: str) -> list[str]:
    """Names that packages registered as entry points."""
    return sorted(_found(kind))


def register(kind: str, name: str, thing: Any) -> None:
    """Make an object known in this process and in the worker processes of its runs.

    Args:
        kind: One of GROUPS.
        name: What it is called from now on, also where something installed has that name.
        thing: What a package would register of that kind.
    """
    _REGISTERED[kind, name] = thing


def registered() -> dict[tuple[str, str], Any]:
    """All objects that were given to `register`."""
    return dict(_REGISTERED)


def split_file(spec: str) -> tuple[str, str]:
    """`FILE.py:NAME` at the start of `spec` and the rest of it; "" and `spec` where it names no file."""
    found = _IN_FILE.match(spec)
    return (found[0], spec[found.end() :]) if found else ("", spec)


def split_spec(spec: str) -> tuple[str, str | None, dict[str, str]]:
    """Name, argument and options of `NAME[:ARGUMENT][,KEY=VALUE…]`, the way data and metrics are named on a command
    line: `mls`, `daps:/data/daps,version=cleanraw`, `sqmos:reference=clean.wav`, `./mine.py:METRIC`. Dashes in keys
    become underscores. What has commas in it is taken whole where there is a file or folder of that name: the longest
    one that there is.

    Raises UsageError for an option without a key.
    """
    file, rest = split_file(spec)
    if file:
        name, rest = file, rest.lstrip(":,")
    else:
        name, _, rest = spec.partition(":")
    if "," in name and not file:  # options and no argument: NAME,KEY=VALUE
        name, _, rest = spec.partition(",")
    first, *more = _parts(rest)
    argument = None if not first or _OPTION.fullmatch(first) else first
    options = {}
    for part in more if argument is not None or not first else [first, *more]:
        found = _OPTION.fullmatch(part)
        if found is None:
            raise UsageError(f"{spec!r}: {part!r} is not KEY=VALUE. Write NAME:ARGUMENT,KEY=VALUE")
        options[found[1].replace("-", "_")] = found[2]
    return name, argument, options


def _parts(text: str) -> list[str]:
    """`text` at its commas, but for those in the name of a file or folder that is there."""
    parts = text.split(",")
    joined = []
    while parts:
        candidates = [",".join(parts[:count]) for count in range(len(parts), 1, -1)]
        values = [found[2] if (found := _OPTION.fullmatch(one)) else one for one in candidates]
        whole = next((len(parts) - i for i, path in enumerate(values) if os.path.exists(os.path.expanduser(path))), 1)
        joined.append(",".join(parts[:whole]))
        parts = parts[whole:]
    return joined


def load(kind: str, name: str) -> Any:
    """The object that a name stands for.

    What a plugin prints while it is imported goes to standard error: standard output is for results.

    Args:
        kind: One of GROUPS.
        name: As it is registered, or `FILE.py:NAME`.

    Raises:
        UsageError: There is none of that name.
        MissingError: The code behind it cannot be imported, whatever it raises: it is somebody else's.
    """
    if (kind, name) in _REGISTERED:
        return _REGISTERED[kind, name]
    found = _found(kind)
    file, _ = split_file(name)
    if not file and not found:  # evalkit's own are always there
        raise MissingError(
            f"no {kind} is registered: the installed package is older than the code. Reinstall it with pip."
        )
    if not file and name not in found:
        raise choose_from(kind, name, names(kind))
    try:
        with contained():
            return _from_file(file) if file else found[name].load()
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a shared library that does not load raises OSError, code anything
        raise MissingError(f"{kind} {name!r} cannot be loaded: {describe(error)}") from error


@cache
def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if sys.modules.setdefault(path.stem, module) is module:  # where its classes say that they are, for pickle
        _BY_VALUE.add(path.stem)
    spec.loader.exec_module(module)
    return module


def _from_file(spec: str) -> Any:
    place, _, name = spec.rpartition(":")
    path = expanded(place).resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {place}: write FILE.py:NAME")
    module = _module(path)
    if not hasattr(module, name):
        raise UsageError(f"{place} defines no {name}")
    return getattr(module, name)


def packed(kind: str) -> bytes:
    """What `register` was given of `kind`, for `unpack` in another process."""
    objects = {key: thing for key, thing in _REGISTERED.items() if key[0] == kind}
    return pickled(objects) if objects else b""


def pickled(thing: Any) -> bytes:
    """`thing` for `pickle.loads` in another process; classes and functions of scripts and notebooks travel along."""
    import cloudpickle

    for name in _BY_VALUE & sys.modules.keys():
        cloudpickle.register_pickle_by_value(sys.modules[name])
    return bytes(cloudpickle.dumps(thing))


def unpack(content: bytes) -> None:
    """Register what `packed` holds."""
    if content:
        import pickle

        _REGISTERED.update(pickle.loads(content))

"""Finding codecs, metrics and datasets by name, through entry points.

A package registers its own with, for instance,

    [project.entry-points."evalkit.codecs"]
    mycodec = "mypackage.evalkit_codec:FAMILY"

and evalkit's own are registered the same way (pyproject.toml). Nothing is imported until it is asked for.
"""

import os.path
import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from evalkit.errors import MissingError, UsageError, choose_from

_OPTION = re.compile(r"([a-z][a-z0-9_-]*)=(.*)", re.DOTALL)

GROUPS = {"codec": "evalkit.codecs", "metric": "evalkit.metrics", "dataset": "evalkit.datasets"}


@cache
def _found(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def names(kind: str) -> list[str]:
    """Sorted names of what is registered; `kind` is "codec", "metric" or "dataset"."""
    return sorted(_found(kind))


def split_spec(spec: str) -> tuple[str, str | None, dict[str, str]]:
    """Name, argument and options of `NAME[:ARGUMENT][,KEY=VALUE…]`, the way data and metrics are named on a command
    line: `mls`, `daps:/data/daps,version=cleanraw`, `sqmos:reference=clean.wav`. Dashes in keys become underscores.
    What has commas in it is taken whole where there is a file or folder of that name: the longest one that there is.

    Raises UsageError for an option without a key.
    """
    name, _, rest = spec.partition(":")
    if "," in name:  # options and no argument: NAME,KEY=VALUE
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
    """The object registered as `name`.

    Raises UsageError for an unknown name, and MissingError where the package behind it cannot be imported.
    """
    found = _found(kind)
    if name not in found:
        raise choose_from(kind, name, list(found))
    try:
        return found[name].load()
    except (ImportError, OSError) as error:  # a shared library that does not load raises OSError
        raise MissingError(f"{kind} {name!r} cannot be loaded: {error}") from error

"""Finding codecs, metrics and datasets by name, through entry points.

A package registers its own with, for instance,

    [project.entry-points."evalkit.codecs"]
    mycodec = "mypackage.evalkit_codec:FAMILY"

and evalkit's own are registered the same way (pyproject.toml). Nothing is imported until it is asked for.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from evalkit.errors import MissingError, choose_from

GROUPS = {"codec": "evalkit.codecs", "metric": "evalkit.metrics", "dataset": "evalkit.datasets"}


@cache
def _found(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def names(kind: str) -> list[str]:
    """Sorted names of what is registered; `kind` is "codec", "metric" or "dataset"."""
    return sorted(_found(kind))


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

"""Bringing weights to this machine ahead of time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from evalkit.codecs import CodecChoice, Weighted


def fetch(choices: Sequence[CodecChoice]) -> Iterator[tuple[CodecChoice, Path | None]]:
    """Each codec and where its weights are now; None for codecs without weights.

    Downloads what is not here, with a progress bar of the hub's own, and verifies what has a recorded sha256. Raises
    MissingError at the first codec whose weights cannot be had, with file, revision, license and remedy.
    """
    for choice in choices:
        yield choice, choice.family.fetch(choice.rate) if isinstance(choice.family, Weighted) else None

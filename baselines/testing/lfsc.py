"""A narrow LFSC with seeded weights, as the `.nemo` file of the release."""

from pathlib import Path

from . import nanocodec


def write(folder: Path, rate: str) -> None:
    """The file of the release."""
    nanocodec.write(folder, "lfsc")

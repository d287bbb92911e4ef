"""A narrow NanoCodec with seeded weights, as the `.nemo` file of the release."""

from pathlib import Path

from nanocodec.config import get_config
from nanocodec.releases import RELEASES
from nanocodec.testing import narrow, seeded_tensors, write_nemo


def write(folder: Path, rate: str) -> None:
    """The file of the release at `rate`."""
    config = narrow(get_config(rate))
    write_nemo(folder / RELEASES[rate].file, config, seeded_tensors(config))

"""The built-in smoke set: synthesized speech in the eight MLS languages, small enough to ship.

Out of domain for neural codecs: it shows that a pipeline works, not how good a codec is (README.md beside this).
"""

from pathlib import Path

from evalkit.datasets.base import Dataset, DatasetLoader, read_manifest

MANIFEST = Path(__file__).with_name("manifest.csv")


def load() -> Dataset:
    """29 utterances, 16-bit FLAC at 16 or 22.05 kHz. The first eight are one of each language."""
    return read_manifest(MANIFEST, "builtin", "CC0-1.0")


LOADER = DatasetLoader("builtin", load, about="the set that ships with evalkit", license="CC0-1.0")

"""A mirror: other addresses for what is downloaded, and the sha256 that its files have instead of the recorded ones.

`EVALKIT_MIRROR` names a file of YAML (or JSON):

    addresses:
      https://www.openslr.org/: https://mirror.example.org/openslr/
    sha256:
      OWNER/NAME/model.safetensors: 0123…
      https://www.openslr.org/resources/12/test-clean.tar.gz: 4567…

An address that begins with one of `addresses` is asked for at the other place. The hub itself has a variable for that:
HF_ENDPOINT. `sha256` is for a mirror whose files are not the released ones, byte for byte: they are held to these
instead, and every run that uses one says so. A file of the hub is named by repository and path, another by its address.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.files import expanded, read_bytes

VARIABLE = "EVALKIT_MIRROR"


@dataclass(frozen=True)
class Mirror:
    """Where a mirror has things, and what its files are."""

    name: str
    """Of its file."""
    addresses: Mapping[str, str]
    """What an address begins with -> what it begins with there."""
    sha256: Mapping[str, str]
    """By file: OWNER/NAME/PATH, or its address."""

    def address(self, url: str) -> str:
        """Where `url` is to be asked for: the longest beginning that is known decides."""
        known = [start for start in self.addresses if url.startswith(start)]
        return self.addresses[start] + url.removeprefix(start) if (start := max(known, key=len, default="")) else url


NONE = Mirror("", {}, {})


def mirror() -> Mirror:
    """The mirror that the environment names; `NONE` where it names none.

    Raises:
        UsageError: its file cannot be read, or says something else.
    """
    named = os.environ.get(VARIABLE)
    return _read(expanded(named)) if named else NONE


@lru_cache(maxsize=1)
def _read(path: Path) -> Mirror:
    import yaml

    try:
        found = yaml.safe_load(read_bytes(path))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{VARIABLE}: {path} cannot be read ({error})") from error
    if not isinstance(found, dict) or set(found) - {"addresses", "sha256"}:
        raise UsageError(f"{VARIABLE}: {path} must have only the keys addresses and sha256")
    parts = [found.get(key) or {} for key in ("addresses", "sha256")]
    if not all(
        isinstance(part, dict) and all(isinstance(one, str) for one in (*part, *part.values())) for part in parts
    ):
        raise UsageError(f"{VARIABLE}: {path}: addresses and sha256 must each map text to text")
    wrong = [name for name, digest in parts[1].items() if not re.fullmatch("[0-9a-f]{64}", digest)]
    if wrong:
        raise UsageError(f"{VARIABLE}: {path}: the value of {wrong[0]} is not a sha256 (64 digits of 0-9 and a-f)")
    return Mirror(path.name, *parts)

"""What an exported test is made of. test.json says which stimulus is which system: it is not for listeners."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.files import read_bytes
from evalkit.results.provenance import Provenance
from evalkit.results.record import Record
from nanocodec.atomic import replacing

FILE = "test.json"
DESIGNS = ("mushra", "abx", "acr")
FORMAT = 1
REFERENCE, LOW, MIDDLE = "reference", "anchor35", "anchor70"
"""The hidden reference and the anchors of BS.1534, by the names that webMUSHRA has for them."""


@dataclass(frozen=True)
class Item(Record):
    """One utterance of the test."""

    utterance: str
    language: str = ""
    speaker: str = ""
    spread: float = 0.0
    """How far apart the systems are on it (choose.py)."""


@dataclass(frozen=True)
class Kit(Record):
    """A listening test."""

    id: str
    """Of the test, as result files name it."""
    design: str
    items: Mapping[str, Item]
    """By the names of the pages."""
    systems: Mapping[str, str]
    """The codec behind the name of each stimulus, the hidden reference and anchors not among them."""
    bitrates: Mapping[str, float] = field(default_factory=dict)
    """kbit/s by codec."""
    dataset: str = ""
    loudness: float = 0.0
    """LUFS of every stimulus."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """The run.json of the run that it is about."""
    format: int = FORMAT

    @property
    def anchors(self) -> tuple[str, ...]:
        """Names of the anchors of each item."""
        return (LOW, MIDDLE) if self.design == "mushra" else ()

    @property
    def stimuli(self) -> tuple[str, ...]:
        """Names of all stimuli of each item."""
        return (*self.systems, REFERENCE, *self.anchors)

    @property
    def provenance(self) -> Provenance:
        """Of the run that the test is about."""
        return Provenance.from_json(self.run)

    def write(self, folder: Path) -> None:
        """Keep it in `folder`."""
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
        with replacing(folder / FILE) as partial:
            partial.write_text(text, encoding="utf-8")


def read_kit(folder: Path) -> Kit:
    """The test that `Kit.write` kept in `folder`.

    Raises:
        UsageError: There is none, or it is damaged.
    """
    path = folder / FILE
    try:
        values = json.loads(read_bytes(path))
        items = {page: Item.from_json(one) for page, one in values["items"].items()}
        kit = Kit.from_json({**values, "items": items})
        kit.provenance  # noqa: B018 - read here, so that damage is found here
    except FileNotFoundError:
        raise UsageError(f"{folder} holds no exported listening test: it has no {FILE}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a listening test: {error}. Export the test again.") from error
    if kit.format > FORMAT or kit.design not in DESIGNS:
        raise UsageError(f"{path} was written by a newer evalkit: update evalkit")
    return kit

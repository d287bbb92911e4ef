"""What a metric is: one number for a pair of waveforms, or for the codes of a whole dataset.

A metric lives in one file of this folder, documents its formula, unit and range, and registers under the entry
point group `evalkit.metrics`. Its name carries the variant, so that no two definitions share a column.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.codecs import Codes, Wave

SCORE_RATE = 16_000
"""Hz. Every pair is resampled to this rate before it is scored, as in the NanoCodec paper's protocol."""

Direction = Literal["up", "down", "none"]


@dataclass(frozen=True)
class Pair:
    """One utterance and what a codec made of it: both [T] at SCORE_RATE, trimmed to the shorter, finite."""

    reference: Wave
    decoded: Wave
    transcript: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Metric(ABC):
    """What every metric says of itself."""

    name: str
    """Column name; carries the variant, for instance `pesq-wb`."""
    label: str
    """As a table's head shows it, for instance `PESQ-WB`."""
    direction: Direction
    """"up" if higher is better, "down" if lower is, "none" if neither."""
    unit: str
    low: float
    high: float
    """Range of the values; may be infinite."""
    version: str
    """Changes whenever the same input could give another value."""
    decimals: int
    """Digits after the point in tables."""


@dataclass(frozen=True)
class PairMetric(Metric):
    """A metric of one utterance. Instances are picklable and cheap to make: workers make their own."""

    @abstractmethod
    def score(self, pair: Pair) -> float:
        """A finite value, or UndefinedScore with the reason why there is none."""


@dataclass(frozen=True)
class CodesMetric(Metric):
    """A metric of all codes that a codec made on a dataset: one value, or one for each codebook."""

    @abstractmethod
    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """Values by row name (the metric's own name, or with `-cb1`, `-cb2`, … for single codebooks).

        `codes` are those of every utterance that was encoded, `seconds` their duration in all. Raises UndefinedScore
        where the codec has no codebooks to look at.
        """

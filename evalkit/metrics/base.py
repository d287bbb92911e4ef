"""What a metric is: one number for a pair of waveforms, or for the codes of a whole dataset.

A metric lives in one file of this folder, documents its formula, unit and range, and registers under the entry
point group `evalkit.metrics`. Its name carries the variant, so that no two definitions share a column.
Metrics that hold a trained model are in `model.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from evalkit.audio import Wave
from evalkit.codecs import READY, Availability, Codes
from evalkit.errors import UsageError
from evalkit.files import is_text

SCORE_RATE = 16_000
"""Hz. Every pair is resampled to this rate before it is scored, as in the NanoCodec paper's protocol."""

Direction = Literal["up", "down", "none"]
MOST_DECIMALS = 12
"""Digits after the point that make sense of a float."""


@dataclass(frozen=True)
class Pair:
    """One utterance and what a codec made of it: both [T] at the metric's `rate`, trimmed to the shorter, finite.

    The arrays may be read-only: a metric never changes them in place.
    """

    reference: Wave
    decoded: Wave
    transcript: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Score:
    """What a metric says of one pair: a value, or the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Metric(ABC):
    """What every metric says of itself."""

    ranks: ClassVar[bool] = True
    """Whether its mean says which codec is better. Where not, tables show it without rank, with `note`."""
    skewed: ClassVar[bool] = False
    """Whether its values are strongly skewed, as error rates are: differences are tested on ranks as well."""
    note: ClassVar[str] = ""
    """What a reader of a table has to know, in one sentence; empty where the number speaks for itself."""
    uses_reference: ClassVar[bool] = True
    """Whether the original plays a part in the value."""
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that it imports when it scores: worker processes share them instead of importing each their own."""
    rate: ClassVar[int] = SCORE_RATE
    """Hz at which it takes its pairs."""
    max_seconds: ClassVar[float] = 7_200.0
    """Longest pair that it takes: longer ones get a reason instead of the memory or time that they would need."""

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

    def __post_init__(self) -> None:
        texts = {"name": self.name, "label": self.label, "unit": self.unit, "version": self.version}
        for what, value in texts.items():
            if not is_text(value) and (what != "unit" or value != ""):
                raise UsageError(f"a metric's {what} must be a string, not {value!r}")
        if self.direction not in ("up", "down", "none"):
            raise UsageError(f"metric {self.name}: direction must be 'up', 'down' or 'none', not {self.direction!r}")
        if not (isinstance(self.low, int | float) and isinstance(self.high, int | float) and self.low <= self.high):
            raise UsageError(f"metric {self.name}: low and high must be numbers, not {self.low!r} and {self.high!r}")
        if not (isinstance(self.decimals, int) and 0 <= self.decimals <= MOST_DECIMALS):
            raise UsageError(f"metric {self.name}: decimals must be 0 to {MOST_DECIMALS}, not {self.decimals!r}")

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows that it gives for one utterance: its own first."""
        return (self.name,)

    def availability(self, languages: Sequence[str] = ()) -> Availability:
        """Whether it can score here and now. Loads nothing.

        Args:
            languages: Of the speech, ISO 639-1.
        """
        return READY

    def identity(self, language: str | None = None) -> dict[str, Any]:
        """All that determines its values beside the pair: names what the cache keeps.

        Args:
            language: Of the speech, ISO 639-1.

        Returns:
            JSON values.
        """
        return {"metric": repr(self)}

    @property
    def without_text(self) -> str | None:
        """The metric that stands in where a dataset has no transcripts; None where this one needs none."""
        return None

    @property
    def pooled_names(self) -> tuple[str, ...]:
        """Names of the rows that `pooled` gives for a whole dataset."""
        return ()

    def pooled(self, utterances: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Values over a whole dataset, such as the error rate of all its words together.

        Args:
            utterances: Values by row name, of every utterance that has all rows of this metric.

        Returns:
            A value for each of `pooled_names`.
        """
        return {}

    def configured(self, name: str, options: Mapping[str, str]) -> "Metric":
        """This metric with options.

        Args:
            name: What it is called with them: `sqmos:reference=clean.wav`.
            options: By name, from the command line.

        Raises:
            UsageError: It has no such option.
        """
        raise UsageError(f"{self.name} takes no options, so {', '.join(options)} cannot be set")


@dataclass(frozen=True)
class PairMetric(Metric):
    """A metric of one utterance. Instances are picklable and cheap to make: workers make their own."""

    @abstractmethod
    def score(self, pair: Pair) -> float:
        """Score one pair.

        Args:
            pair: Reference and decoded audio, float32 [T] at `rate`; never changed in place.

        Returns:
            A finite value from `low` to `high`.

        Raises:
            UndefinedScore: There is none; the message is the reason that the row shows.
        """


@dataclass(frozen=True)
class CodesMetric(Metric):
    """A metric of all codes that a codec made on a dataset: one value, or one for each codebook."""

    @abstractmethod
    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """Score all codes of one codec together.

        Args:
            codes: Of every utterance that was encoded.
            seconds: Duration of all of them.

        Returns:
            Values by row name: the metric's own name, or with `-cb1`, `-cb2`, … for single codebooks.

        Raises:
            UndefinedScore: The codec has no codebooks to look at.
        """


@dataclass(frozen=True)
class TokenMetric(Metric):
    """A metric of one utterance's codes under a condition, beside its codes for clean audio."""

    @abstractmethod
    def score(self, codes: Codes, clean: Codes) -> Mapping[str, float]:
        """Values by row name: the metric's own name, and with `-cb1`, `-cb2`, … for single codebooks.

        Both have indices [K, N] of the same frames. Raises UndefinedScore where there is no value.
        """

"""The metric protocol: one number for a pair of waveforms, or for the codes of a whole dataset.

A metric is one file of this folder, documents its formula, unit and range, and registers under the entry points
`evalkit.metrics`. Its name includes the variant, so that no two definitions share a column.
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
    """One utterance and its decoded version: both [T] at the metric's `rate`, trimmed to the shorter, finite.

    The arrays may be read-only: a metric never changes them in place.
    """

    reference: Wave
    decoded: Wave
    transcript: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Score:
    """The result of a metric for one pair: a value, or the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Metric(ABC):
    """What every metric declares."""

    ranks: ClassVar[bool] = True
    """Whether its mean may rank codecs. If not, tables show it unranked, with `note`."""
    skewed: ClassVar[bool] = False
    """Whether its values are strongly skewed, as error rates are: differences are then also tested on ranks."""
    note: ClassVar[str] = ""
    """What readers of a table must know, in one sentence; "" for nothing."""
    uses_reference: ClassVar[bool] = True
    """Whether the value depends on the original."""
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that it imports when it scores: they are imported once, and worker processes share them."""
    rate: ClassVar[int] = SCORE_RATE
    """Sampling rate of its pairs, in Hz."""
    max_seconds: ClassVar[float] = 7_200.0
    """Longest pair that it accepts: longer ones get a reason, to limit memory and time."""

    name: str
    """Column name, including the variant: `pesq-wb`."""
    label: str
    """Heading in tables: `PESQ-WB`."""
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
        """Names of its rows for one utterance, its own name first."""
        return (self.name,)

    def availability(self, languages: Sequence[str] = ()) -> Availability:
        """Whether it can score here and now. Loads nothing.

        Args:
            languages: Of the speech, ISO 639-1.
        """
        return READY

    def identity(self, language: str | None = None) -> dict[str, Any]:
        """Everything besides the pair that determines its values: its part of the cache key.

        Args:
            language: Of the speech, ISO 639-1.

        Returns:
            JSON values.
        """
        return {"metric": repr(self)}

    @property
    def without_text(self) -> str | None:
        """The metric that replaces this one for datasets without transcripts; None if this one needs none."""
        return None

    @property
    def pooled_names(self) -> tuple[str, ...]:
        """Names of the rows that `pooled` returns for a whole dataset."""
        return ()

    def pooled(self, utterances: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """Values over a whole dataset, such as the error rate over all of its words.

        Args:
            utterances: Values by row name, for every utterance that has all rows of this metric.

        Returns:
            A value for each of `pooled_names`.
        """
        return {}

    def configured(self, name: str, options: Mapping[str, str]) -> "Metric":
        """This metric with options.

        Args:
            name: Its name with the options: `sqmos:reference=clean.wav`.
            options: By name, from the command line.

        Raises:
            UsageError: It has no such option.
        """
        raise UsageError(f"{self.name} takes no options, so {', '.join(options)} cannot be set")


@dataclass(frozen=True)
class PairMetric(Metric):
    """A metric of one utterance. Instances must be picklable and cheap to create: each worker has its own."""

    @abstractmethod
    def score(self, pair: Pair) -> float:
        """Score one pair.

        Args:
            pair: Reference and decoded audio, float32 [T] at `rate`; never changed in place.

        Returns:
            A finite value from `low` to `high`.

        Raises:
            UndefinedScore: There is no value; the message becomes the reason of the row.
        """


@dataclass(frozen=True)
class CodesMetric(Metric):
    """A metric of all codes of a codec on a dataset: one value, or one for each codebook."""

    @abstractmethod
    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """Score all codes of one codec together.

        Args:
            codes: The codes of every utterance that was encoded.
            seconds: Total duration of these utterances.

        Returns:
            Values by row name: the metric's own name, and with `-cb1`, `-cb2`, … for single codebooks.

        Raises:
            UndefinedScore: The codec has no codebooks.
        """


@dataclass(frozen=True)
class TokenMetric(Metric):
    """A metric that compares an utterance's codes under a condition with its codes for clean audio."""

    @abstractmethod
    def score(self, codes: Codes, clean: Codes) -> Mapping[str, float]:
        """Values by row name: the metric's own name, and with `-cb1`, `-cb2`, … for single codebooks.

        Both have indices [K, N] of the same frames. Raises UndefinedScore if there is no value.
        """

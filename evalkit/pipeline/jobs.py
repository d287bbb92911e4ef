"""What is to be scored and what came of it: the data that travels between the main process and the workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.audio import Audio, AudioIdentity
from evalkit.results.pairing import Pairing
from evalkit.soundfiles import duration, fetch

LENGTH_TOLERANCE = 0.25
"""Seconds by which a decoded file may differ in length from its reference; within it, the longer one is trimmed.
Codecs add up to a frame (80 ms); more means that something else than the codec made the file."""

LARGE = 2**20
"""Bytes of a file beyond which it is worth reading the header to know how long the recording is: seven minutes of Opus
at 20 kbit/s, half a minute of 16-bit samples at 16 kHz."""


@dataclass(frozen=True)
class Source:
    """Audio in a file, in memory or behind a function that fetches it, and what names it, where that is known."""

    content: Path | Audio | Callable[[], Audio]
    identity: AudioIdentity | None = None

    @property
    def pcm(self) -> str | None:
        """sha256 of its samples, where that is known."""
        return None if self.identity is None else self.identity.pcm

    def audio(self) -> Audio:
        """Raises AudioError where it cannot be read."""
        return self.content if isinstance(self.content, Audio) else fetch(self.content)

    def seconds(self) -> float:
        """About how long it is; 0 for what is short anyway, or unknown before it is read."""
        if self.identity is not None:
            return self.identity.seconds
        if isinstance(self.content, Audio):
            return self.content.seconds
        return duration(self.content) if isinstance(self.content, Path) and _is_large(self.content) else 0.0


def _is_large(path: Path) -> bool:
    try:
        return path.stat().st_size > LARGE
    except (OSError, ValueError):  # the worker says what is wrong with it
        return False


@dataclass(frozen=True)
class Candidate:
    """One decoded version of a reference and the metrics to compute for it. `key` comes back with its scores."""

    key: int
    source: Source
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """One reference and its candidates: everything that shares a resampled reference."""

    reference: Source
    candidates: tuple[Candidate, ...]
    transcript: str | None = None
    language: str | None = None
    utterance: str = ""
    """Id of the reference; "" where a condition has changed it."""
    device: str = "cpu"
    """Where metrics that hold a model run."""
    seconds: float = 0.0
    """Of the reference, where known: recordings of like length share a batch."""
    batch: int = 1
    """Recordings that a model takes at once."""
    cache: Path | None = None
    """Folder of the cache, for the features of references."""
    timeout: float = 0.0
    """Seconds that one metric may take for one pair; 0 for no limit."""
    check: bool = False
    """Whether to check that decoded audio belongs to its reference (pairing.py)."""
    align: bool = False
    """Whether to compensate a constant lag of decoded audio before it is scored."""


@dataclass(frozen=True)
class RowScore:
    """What one row of a metric says of one candidate: a value, or the reason why there is none."""

    key: int
    metric: str
    value: float | None
    reason: str | None = None
    settled: bool = True
    """False where another try could end otherwise, so that it is not cached: a crash, a file that is gone."""
    trace: str | None = None
    """The traceback, where the metric raised what it should not."""


@dataclass
class Scored:
    """Scores of a job, and what names the files that were read for it."""

    scores: list[RowScore] = field(default_factory=list)
    files: dict[Path, AudioIdentity] = field(default_factory=dict)
    references: dict[str, AudioIdentity] = field(default_factory=dict)
    """By utterance."""
    pairings: dict[int, Pairing] = field(default_factory=dict)
    """By key of the candidate."""

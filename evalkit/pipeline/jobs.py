"""What is to be scored and what came of it: the data that travels between the main process and the workers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.audio import Audio, read


@dataclass(frozen=True)
class Source:
    """Audio in a file, in memory or behind a function that fetches it, and the hash of its samples, where known."""

    content: Path | Audio | Callable[[], Audio]
    pcm: str | None = None

    def audio(self) -> Audio:
        """Raises AudioError where it cannot be read."""
        content = self.content
        return read(content) if isinstance(content, Path) else content if isinstance(content, Audio) else content()


@dataclass(frozen=True)
class Candidate:
    """One decoded version of a reference and the metrics to compute for it. `key` comes back with its answers."""

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
    device: str = "cpu"
    """Where metrics that hold a model run."""
    seconds: float = 0.0
    """Of the reference, where known: a model takes those of like length together."""
    batch: int = 1
    """Recordings that a model hears at once."""
    kept: Path | None = None
    """Folder of the cache, for what a model says of originals."""


@dataclass(frozen=True)
class Score:
    """What one row of a metric says of one candidate: a value, or the reason why there is none."""

    key: int
    metric: str
    value: float | None
    reason: str | None = None
    settled: bool = True
    """False where another try could end otherwise, so that the answer is not kept: a crash, a file that is gone."""


@dataclass(frozen=True)
class Scored:
    """Answers to a job, and the hashes of the files that were read for it."""

    answers: list[Score]
    pcm: dict[Path, str] = field(default_factory=dict)

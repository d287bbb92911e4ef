"""Where a run's numbers come from: everything one needs to get them again, or to see why one does not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from evalkit.codecs import CodecInfo
from evalkit.results.record import Record

__all__ = ["CodecInfo", "DatasetInfo", "MetricInfo", "Provenance"]

FORMAT = 1
"""Of the run directory; readers refuse a newer one."""


@dataclass(frozen=True)
class MetricInfo(Record):
    """What a run says of one of its metrics, or of a row that one of them pools over the dataset (`of`)."""

    label: str = ""
    direction: str = "none"
    unit: str = ""
    version: str = ""
    decimals: int = 3
    ranks: bool = True
    """Whether codecs may be ranked by it."""
    note: str = ""
    """What a reader of its column has to know."""
    skewed: bool = False
    """Whether a few utterances decide its mean, so that differences are tested on ranks as well."""
    settings: Mapping[str, str] | None = None
    weights: Mapping[str, str | None] | None = None
    """sha256 by file, of a metric that holds a model."""
    of: str = ""
    """The metric whose by-product it is."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        found = super().from_json(values)
        if found.direction not in ("up", "down", "none") or not 0 <= found.decimals <= 12:
            raise ValueError(f"a metric of direction {found.direction[:100]!r} and {found.decimals} decimals")
        return found


@dataclass(frozen=True)
class DatasetInfo(Record):
    """Which utterances a run measured."""

    name: str = ""
    revision: str | None = None
    license: str = ""
    n: int = 0
    ids_sha256: str = ""
    audio_sha256: str = ""
    """Over the ids and the audio of all utterances that could be read: equal data, equal hash."""
    selection: Mapping[str, Any] = field(default_factory=dict)
    """How they were taken from all that there are; empty for all."""


@dataclass(frozen=True)
class ConditionInfo(Record):
    """What a condition does (evalkit/conditions)."""

    about: str = ""
    reference: str = ""
    """What decoded audio is scored against: "clean", or "input" for what the codec was given."""
    version: str = ""


@dataclass(frozen=True)
class Provenance(Record):
    """A run.json."""

    format: int = FORMAT
    state: str = "running"
    """"running", "finished", or why it stopped early."""
    evalkit: str = ""
    git: str | None = None
    """Revision of the checkout that evalkit ran from, with "+" where it had changes; None for an installed one."""
    started: str = ""
    command: tuple[str, ...] = ()
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    processor: str = ""
    cores: int | None = None
    threads: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that limit threads, where they are set."""
    score_rate: int | None = None
    """Hz."""
    resampler: str = ""
    intervals: str = ""
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    codecs: Mapping[str, CodecInfo] = field(default_factory=dict)
    dataset: DatasetInfo = field(default_factory=DatasetInfo)
    conditions: Mapping[str, ConditionInfo] = field(default_factory=dict)
    """By name, in the order of the run; empty where everything was clean."""
    notes: tuple[str, ...] = ()
    """Whole sentences for readers of the results."""
    device: str = ""
    seed: int | None = None
    batch: int | None = None
    align: bool | None = None
    """Whether a constant lag of decoded audio was compensated before scoring."""
    shard: str | None = None
    shards: tuple[Mapping[str, Any], ...] = ()
    """What is particular to each part of a merged run."""

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | {"notes": list(self.notes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A run.json of any version of evalkit up to this one."""
        parts: dict[str, Any] = {
            "metrics": {name: MetricInfo.from_json(about) for name, about in values.get("metrics", {}).items()},
            "codecs": {name: _codec(about) for name, about in values.get("codecs", {}).items()},
            "dataset": DatasetInfo.from_json(values.get("dataset", {})),
            "conditions": {k: ConditionInfo.from_json(about) for k, about in values.get("conditions", {}).items()},
        }
        return super().from_json({**values, **parts})


def _codec(about: Mapping[str, Any]) -> CodecInfo:
    """Earlier versions called `causal` `streaming`."""
    return CodecInfo.from_json({"causal": about.get("streaming"), **about})

"""What to run: decided, checked and complete before any work starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.codecs import Codec
from evalkit.datasets.base import Dataset, Utterance
from evalkit.environment.machine import check_device
from evalkit.errors import MissingError
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.choice import CodecChoice
from evalkit.pipeline.encode import Coder, LocalCoder
from evalkit.pipeline.schedule import model_metrics, pair_metrics
from evalkit.pipeline.suites import missing_lines
from evalkit.pipeline.workers import Executor

if TYPE_CHECKING:
    from evalkit.pipeline.shards import Shard


@dataclass(frozen=True)
class Plan:
    """One run: which codecs over which utterances, scored by what, and where it goes."""

    codecs: tuple[CodecChoice, ...]
    dataset: Dataset
    metrics: tuple[str, ...]
    output: Path
    device: str = "cpu"
    seed: int = 0
    save_audio: bool = False
    overwrite: bool = False
    workers: Executor | None = None
    """Where waveforms are scored; None for processes on this machine."""
    coder: Callable[[CodecChoice, Codec, str], Coder] = LocalCoder
    """Where codecs run."""
    batch: int = 1
    """Recordings that a metric's model hears at once."""
    shard: "Shard | None" = None
    """The part of the dataset that this run does; None for all of it."""

    @property
    def utterances(self) -> Sequence[Utterance]:
        everything = self.dataset.utterances
        return everything if self.shard is None else self.shard.take(everything, [u.id for u in everything])

    def check(self) -> None:
        """Raises MissingError that lists every codec and metric that cannot run here, each with its remedy."""
        problems = []
        missing = [(choice.spec, state) for choice in self.codecs if not (state := choice.availability()).ready]
        if missing:
            lines = "\n".join(f"  {spec}: {state.code}. {state.remedy}" for spec, state in missing)
            problems.append(f"these codecs cannot run here yet:\n{lines}")
        problems += missing_metrics(self.metrics, self.dataset.languages)
        if problems:
            raise MissingError("\n".join(problems))
        check_device(device_here(self.device, self.workers))


def with_texts(plan: Plan) -> tuple[Plan, list[str]]:
    """`plan` with each metric that needs a transcript replaced by the one that needs none, where the dataset has no
    transcripts at all; and a note that says so. Where some have one, those without are rows without a value."""
    notes = []
    metrics = list(plan.metrics)
    if all(utterance.transcript is None for utterance in plan.dataset):
        for position, name in enumerate(metrics):
            other = getattr(load_metric(name), "without_text", None)
            if other is not None:
                metrics[position] = other
                notes.append(f"{plan.dataset.name} has no transcripts: {other} was measured in place of {name}.")
    return replace(plan, metrics=tuple(dict.fromkeys(metrics))), notes


def rows_of(metrics: Sequence[str]) -> list[str]:
    """Names of the rows that `metrics` give for one utterance."""
    scored = (*pair_metrics(metrics), *model_metrics(metrics))
    return [row for name in scored for row in load_metric(name).rows]


def missing_metrics(metrics: Sequence[str], languages: Sequence[str]) -> list[str]:
    """A message where some of `metrics` cannot score `languages` here, with all that they lack; else nothing."""
    states = {name: load_metric(name).availability(languages) for name in metrics}
    lacking = {name: state for name, state in states.items() if not state.ready}
    if not lacking:
        return []
    known = {name: load_metric(name) for name in lacking}
    fetched = " ".join(
        name.partition(":")[0] for name, m in known.items() if isinstance(m, ModelMetric) and m.missing(languages)
    )
    hint = f"All of it: evalkit fetch {fetched}. " if len(lacking) > 1 and fetched else ""
    hint += "What can run now: add `available` to --metrics."
    return [f"these metrics cannot run here yet:\n{missing_lines(lacking)}\n{hint}"]


def device_here(device: str, workers: Executor | None) -> str:
    """Where this process itself computes, if `workers` are to compute on `device`."""
    return device if workers is None or workers.here else "cpu"

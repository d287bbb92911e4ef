"""What to run: decided, checked and complete before any work starts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.codecs import Availability
from evalkit.conditions.base import Clean, Condition
from evalkit.datasets.base import Dataset, Utterance
from evalkit.environment.contained import opening
from evalkit.environment.machine import check_device
from evalkit.errors import MissingError, UsageError
from evalkit.files import shown
from evalkit.metrics.load import load_metric, model_metrics, pair_metrics
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.choice import SystemChoice
from evalkit.pipeline.shard import Shard
from evalkit.pipeline.suites import missing_lines
from evalkit.results.rows import CLEAN, CORPUS

if TYPE_CHECKING:
    from evalkit.pipeline.workers import Executor


@dataclass(frozen=True)
class Plan:
    """One run: which systems over which utterances, scored by what, and where it goes."""

    systems: tuple[SystemChoice, ...]
    dataset: Dataset
    metrics: tuple[str, ...]
    output: Path
    workers: "Executor"
    """Where waveforms are scored, and codecs run."""
    device: str = "cpu"
    seed: int = 0
    save_audio: bool = False
    overwrite: bool = False
    batch: int = 1
    """Recordings that a metric's model takes at once."""
    conditions: tuple[Condition, ...] = (Clean(),)
    """What every system is measured under."""
    shard: Shard | None = None
    """The part of the dataset that this run does; None for all of it."""
    align: bool = False
    """Compensate a constant lag of decoded audio before it is scored."""
    max_seconds: float | None = None
    """The longest recording that is taken: longer ones get a reason."""
    notes: tuple[str, ...] = ()
    """What readers should know of how it was planned."""
    debug: bool = False
    """Show the first traceback of each kind."""
    fail_fast: bool = False
    """Stop at the first failure of a codec or metric."""

    @property
    def clean(self) -> bool:
        """Whether nothing is done to audio, codes or codecs."""
        return all(one.name == CLEAN for one in self.conditions)

    @property
    def utterances(self) -> Sequence[Utterance]:
        """Those of this run: of the shard, or all."""
        everything = self.dataset.utterances
        return everything if self.shard is None else self.shard.take(everything, [u.id for u in everything])

    def check(self) -> None:
        """Raises MissingError that lists every system and metric that cannot run here, each with its remedy; UsageError
        for a seed that is none, and for an utterance called as the whole dataset."""
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"the seed must be from 0 to {2**32 - 1}, not {self.seed}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise UsageError(f"--max-seconds must be above 0, not {self.max_seconds}")
        if inside := self._inside_output():
            raise UsageError(
                f"{shown(inside)} would be deleted, because {self.output} is replaced: choose another --output"
            )
        if odd := next((one for one in self.dataset if one.id == CORPUS), None):
            where = shown(odd.path) if odd.path else f"an utterance of {self.dataset.name}"
            raise UsageError(f"{where} has the id {CORPUS!r}, which stands for the whole dataset: rename it")
        problems = []
        missing = [(choice.spec, state) for choice in self.systems if not (state := choice.availability()).ready]
        if missing:
            lines = "\n".join(f"  {spec}: {state.code}. {state.remedy}" for spec, state in missing)
            problems.append(f"these codecs cannot run here yet:\n{lines}")
        problems += missing_metrics(self.metrics, self.dataset.languages)
        if problems:
            raise MissingError("\n".join(problems))
        check_device(self.device if self.workers.here else "cpu")

    def _inside_output(self) -> Path | None:
        """Audio that this run is to read from the run that it replaces."""
        kept = Path(os.path.realpath(self.output)) / "audio"
        if not kept.exists():
            return None
        files = [*(one.path for one in self.dataset), *(file for one in self.systems for file in one.audio())]
        folders = {file if file.is_dir() else file.parent for file in files if file is not None}
        return next((one for one in folders if Path(os.path.realpath(one)).is_relative_to(kept)), None)


def with_texts(plan: Plan) -> tuple[Plan, list[str]]:
    """`plan` with each metric that needs a transcript replaced by the one that needs none, where the dataset has no
    transcripts at all; and a note that says so. Where some have one, those without are rows without a value."""
    notes = []
    metrics = list(plan.metrics)
    if all(utterance.transcript is None for utterance in plan.dataset):
        for position, name in enumerate(metrics):
            if (other := load_metric(name).without_text) is not None:
                metrics[position] = other
                notes.append(f"{plan.dataset.name} has no transcripts: {other} was measured instead of {name}.")
    return replace(plan, metrics=tuple(dict.fromkeys(metrics))), notes


def rows_of(metrics: Sequence[str]) -> list[str]:
    """Names of the rows that `metrics` give for one utterance."""
    scored = (*pair_metrics(metrics), *model_metrics(metrics))
    return [row for name in scored for row in load_metric(name).rows]


def missing_metrics(metrics: Sequence[str], languages: Sequence[str]) -> list[str]:
    """A message where some of `metrics` cannot score `languages` here, with all that they lack; else nothing."""
    states = {}
    for name in metrics:
        with opening(f"metric {name} cannot be used"):
            states[name] = load_metric(name).availability(languages)
            if not isinstance(states[name], Availability):
                raise UsageError(f"metric {name}: availability() gives {states[name]!r}, not an Availability")
    lacking = {name: state for name, state in states.items() if not state.ready}
    if not lacking:
        return []
    known = {name: load_metric(name) for name in lacking}
    fetched = " ".join(
        name.partition(":")[0] for name, m in known.items() if isinstance(m, ModelMetric) and m.missing(languages)
    )
    hint = f"To fetch everything: evalkit fetch {fetched}. " if len(lacking) > 1 and fetched else ""
    hint += "To run what is ready now: add `available` to --metrics."
    return [f"these metrics cannot run here yet:\n{missing_lines(lacking)}\n{hint}"]

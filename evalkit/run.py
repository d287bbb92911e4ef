"""The main path: every codec over every utterance, scored, recorded, summarized.

plan -> for each utterance: load -> encode -> decode -> score -> record -> summarize -> write
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit import plugins, provenance
from evalkit.audio import Audio, write
from evalkit.codecs import Codec, CodecChoice, Codes
from evalkit.datasets.base import Dataset, Utterance
from evalkit.errors import AudioError, MissingError, UndefinedScore
from evalkit.metrics.base import CodesMetric
from evalkit.score import Answer, Candidate, Job, pair_metrics, score_all
from evalkit.store import CORPUS, Row, RunWriter

Advance = Callable[[str, int], None]
"""Told what is under way and how many utterances were finished."""


@dataclass(frozen=True)
class Plan:
    """What to run: decided, checked and complete before any work starts."""

    codecs: tuple[CodecChoice, ...]
    dataset: Dataset
    metrics: tuple[str, ...]
    output: Path
    device: str = "cpu"
    seed: int = 0
    save_audio: bool = False
    overwrite: bool = False
    workers: int | None = None

    def check(self) -> None:
        """Raises MissingError that lists every codec that cannot run here, each with its remedy."""
        missing = [(choice.spec, state) for choice in self.codecs if not (state := choice.state()).ready]
        if missing:
            lines = "\n".join(f"  {spec}: {state.code}. {state.remedy}" for spec, state in missing)
            raise MissingError(f"these codecs cannot run here yet:\n{lines}")


@dataclass(frozen=True)
class Trip:
    """One utterance on its way through one codec. `codes` is None where encoding or decoding failed."""

    codec: str
    utterance: Utterance
    seconds: float | None = None
    codes: Codes | None = None

    def row(self, dataset: str, metric: str, value: float | None, reason: str | None) -> Row:
        kbps = self.codes.bits / self.seconds / 1000 if self.codes is not None and self.seconds else None
        u = self.utterance
        return Row(self.codec, dataset, u.id, metric, value, reason, kbps, u.language or None, u.speaker or None)


def execute(plan: Plan, advance: Advance) -> list[Row]:
    """Run `plan` and write its run directory; the rows are returned as well."""
    plan.check()
    codecs = [choice.build(plan.device) for choice in plan.codecs]
    seed_everything(plan.seed)
    description = provenance.describe(
        plan.metrics,
        codecs={codec.name: describe_codec(codec) for codec in codecs},
        dataset={"name": plan.dataset.name, "revision": plan.dataset.revision, "n": len(plan.dataset)},
        device=plan.device,
        seed=plan.seed,
    )
    names = [codec.name for codec in codecs]
    with RunWriter(plan.output, names, description, plan.overwrite) as writer:
        trips: list[Trip] = []

        def record(answers: Sequence[Answer]) -> None:
            dataset = plan.dataset.name
            writer.add(trips[a.key].row(dataset, a.metric, a.value, a.reason) for a in answers)

        def jobs() -> Iterator[Job]:
            metrics = pair_metrics(plan.metrics)
            for codec in codecs:
                first = len(trips)
                for utterance in plan.dataset:
                    key = len(trips)
                    try:
                        reference, codes, decoded = encode_decode(codec, utterance)
                    except Exception as error:  # whatever a codec does wrong costs this utterance, not the run
                        trips.append(Trip(codec.name, utterance))
                        reason = str(error) if isinstance(error, AudioError) else f"{type(error).__name__}: {error}"
                        record([Answer(key, metric, None, reason) for metric in metrics])
                    else:
                        trips.append(Trip(codec.name, utterance, reference.seconds, codes))
                        if plan.save_audio:
                            write(
                                plan.output / "audio" / slug(codec.name) / f"{slug(utterance.id)}.wav",
                                decoded,
                            )
                        candidate = Candidate(key, decoded)
                        yield Job(reference, (candidate,), metrics, utterance.transcript, utterance.language)
                    advance(codec.name, 1)
                writer.add(corpus_rows(codec.name, plan, trips[first:]))

        for answers in score_all(jobs(), plan.workers):
            record(answers)
        return writer.rows


def encode_decode(codec: Codec, utterance: Utterance) -> tuple[Audio, Codes, Audio]:
    """The reference as it was read, its codes, and what the codec made of it at the codec's own rate."""
    reference = utterance.audio()
    source = reference.at(codec.sample_rate)
    codes = codec.encode(source.wav)
    return reference, codes, Audio(codec.decode(codes), source.sample_rate)


def corpus_rows(codec: str, plan: Plan, trips: Sequence[Trip]) -> Iterator[Row]:
    """Rows of the metrics that look at all codes at once."""
    coded = [(trip.codes, trip.seconds) for trip in trips if trip.codes is not None and trip.seconds is not None]
    codes = [code for code, _ in coded]
    seconds = sum(duration for _, duration in coded)
    for name in plan.metrics:
        metric = plugins.load("metric", name)
        if isinstance(metric, CodesMetric):
            try:
                if not codes:
                    raise UndefinedScore("no utterance was encoded")
                values: dict[str, float | None] = dict(metric.score(codes, seconds))
                reason = None
            except UndefinedScore as error:
                values, reason = {name: None}, str(error)
            for row_name, value in values.items():
                yield Row(codec, plan.dataset.name, CORPUS, row_name, value, reason)


def describe_codec(codec: Codec) -> dict[str, object]:
    """A codec's own words about itself, for the provenance; `details` (weights' sha256, settings) is optional."""
    keys = ("sample_rate", "frame_rate", "codebook_sizes", "streaming")
    return {key: getattr(codec, key) for key in keys} | dict(getattr(codec, "details", {}))


def seed_everything(seed: int) -> None:
    """Seed numpy and, where a codec has loaded it, torch."""
    import sys

    import numpy as np

    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def slug(name: str) -> str:
    """`name` as a file name."""
    return "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)

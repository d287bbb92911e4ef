"""The main path: every codec over every utterance, scored, recorded, summarized.

    plan -> for each utterance: load -> encode -> decode -> score -> record -> summarize -> write

What to run is in plan.py, the way through a codec in coding.py, scoring in score.py, rows about a whole dataset in
corpus.py, and the run directory in store.py.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from evalkit.audio import write
from evalkit.cache import Cache
from evalkit.codecs import Codec
from evalkit.datasets.base import Dataset, Utterance
from evalkit.pipeline.choice import Rendered
from evalkit.pipeline.encode import (
    Reconstruction,
    describe_codec,
    is_narrow,
    kbps,
    narrow_notes,
    own_notes,
    reconstructions,
)
from evalkit.pipeline.jobs import Candidate, Job, Score, Source
from evalkit.pipeline.plan import Plan, device_here, rows_of, with_texts
from evalkit.pipeline.pooled import corpus_rows, pooled_rows
from evalkit.pipeline.schedule import model_metrics, pair_metrics, score_all
from evalkit.results import provenance
from evalkit.results.run_directory import REFERENCE_FOLDER, Coded, Row, RunWriter, slug

Advance = Callable[[str, int], None]
"""Told what is under way and how many utterances were finished."""


def execute(plan: Plan, cache: Cache, advance: Advance) -> list[Row]:
    """Run `plan` and write its run directory; the rows are returned as well."""
    plan, notes = with_texts(plan)
    plan.check()
    seed_everything(plan.seed)
    codecs = [choice.build(device_here(plan.device, plan.workers)) for choice in plan.codecs]
    names = [codec.name for codec in codecs]
    description = provenance.describe(
        plan.metrics,
        codecs={codec.name: describe_codec(codec) for codec in codecs},
        dataset=describe_dataset(plan.dataset),
        notes=[*plan.dataset.notes, *notes, *own_notes(codecs)],
        device=plan.device,
        seed=plan.seed,
        **({"shard": str(plan.shard)} if plan.shard else {}),
    )
    with RunWriter(plan.output, names, description, plan.overwrite) as writer, TemporaryAudio() as temporary:
        course = Course(plan, codecs, cache, writer, temporary, advance)
        jobs: Iterable[Job] = course.jobs()
        if models := model_metrics(plan.metrics):  # they hear what all codecs made: codecs first, then all metrics
            jobs = list(jobs)
        for answers in score_all(jobs, cache, plan.workers, plan.batch):
            course.record(answers)
            if models:
                advance(answers[0].metric, 0)
        writer.add(pooled_rows(plan.metrics, names, plan.dataset.name, writer.rows))
        writer.add(corpus_rows(plan.metrics, names, plan.dataset.name, writer.coded))
        writer.provenance["notes"] += narrow_notes(codecs, course.narrow, len(plan.utterances))
        return writer.rows


@dataclass(frozen=True)
class PendingUtterance:
    """One utterance on its way through one codec; `kbps` as measured, or as declared for audio that was rendered
    elsewhere, and None where encoding or decoding failed."""

    codec: str
    utterance: Utterance
    kbps: float | None = None

    def row(self, dataset: str, answer: Score) -> Row:
        u = self.utterance
        return Row(
            self.codec, dataset, u.id, answer.metric, answer.value, answer.reason,
            self.kbps, u.language or None, u.speaker or None,
        )  # fmt: skip


class Course:
    """The trips of a run, and what is to be scored of them. A trip's number is the key of its answers."""

    def __init__(
        self,
        plan: Plan,
        codecs: Sequence[Codec | Rendered],
        cache: Cache,
        writer: RunWriter,
        temporary: "TemporaryAudio",
        advance: Advance,
    ) -> None:
        self._plan, self._codecs, self._cache = plan, codecs, cache
        self._writer, self._shelf, self._advance = writer, temporary, advance
        self._scored = (*pair_metrics(plan.metrics), *model_metrics(plan.metrics))
        self._trips: list[PendingUtterance] = []
        self._later: dict[str, Job] | None = {} if model_metrics(plan.metrics) else None
        self.narrow: dict[str, list[int]] = {}
        """Sampling rates of the utterances that lack a part of a codec's band, by codec."""

    def jobs(self) -> Iterator[Job]:
        """Take every utterance through every codec. What came out is to be scored: at once or, with metrics that hold a
        model, in the end, one job an utterance with the versions of all codecs."""
        plan = self._plan
        for choice, codec in zip(plan.codecs, self._codecs, strict=True):
            coder = None if isinstance(codec, Rendered) else plan.coder(choice, codec, plan.device)
            for utterance, reconstruction in reconstructions(codec, coder, plan.utterances, plan.device, self._cache):
                key = len(self._trips)
                if isinstance(reconstruction, Reconstruction):
                    self._trips.append(self._passed(codec, utterance, reconstruction))
                    if self._later is not None:
                        self._put_off(utterance, reconstruction, key)
                    elif self._scored:
                        source = Source(reconstruction.reference, reconstruction.reference.pcm_hash())
                        candidate = Candidate(key, reconstruction.decoded, self._scored)
                        yield Job(source, (candidate,), utterance.transcript, utterance.language)
                else:  # costs this utterance, not the run
                    self._trips.append(PendingUtterance(codec.name, utterance))
                    self.record(Score(key, row, None, str(reconstruction)) for row in rows_of(plan.metrics))
                self._advance(codec.name, 1)
        if self._later is not None:
            yield from self._later.values()

    def record(self, answers: Iterable[Score]) -> None:
        self._writer.add(self._trips[a.key].row(self._plan.dataset.name, a) for a in answers)

    def _passed(
        self, codec: Codec | Rendered, utterance: Utterance, reconstruction: Reconstruction
    ) -> PendingUtterance:
        reference, codes = reconstruction.reference, reconstruction.codes
        if self._plan.save_audio:
            self._save(codec.name, utterance, reconstruction)
        if is_narrow(codec, reference):
            self.narrow.setdefault(codec.name, []).append(reference.sample_rate)
        if codes is not None:
            coded = Coded(codec.name, self._plan.dataset.name, utterance.id, reference.seconds, codes)
            self._writer.add_codes(coded)
        return PendingUtterance(codec.name, utterance, kbps(codec, codes, reference.seconds))

    def _put_off(self, utterance: Utterance, reconstruction: Reconstruction, key: int) -> None:
        assert self._later is not None
        reference = reconstruction.reference
        empty = Job(
            Source(utterance.source, reference.pcm_hash()), (), utterance.transcript, utterance.language,
            self._plan.device, reference.seconds,
        )  # fmt: skip
        job = self._later.get(utterance.id, empty)
        candidate = Candidate(key, self._shelf.keep(reconstruction.decoded), self._scored)
        self._later[utterance.id] = replace(job, candidates=(*job.candidates, candidate))

    def _save(self, codec: str, utterance: Utterance, reconstruction: Reconstruction) -> None:
        folder, file = self._plan.output / "audio", f"{slug(utterance.id)}.wav"
        write(folder / slug(codec) / file, reconstruction.decoded.audio())
        if not (original := folder / REFERENCE_FOLDER / file).exists():
            write(original, reconstruction.reference)


class TemporaryAudio:
    """Decoded audio that waits to be scored, on disk: what is not in a file yet goes to a folder that is removed in
    the end. Used in a `with` statement."""

    def __enter__(self) -> "TemporaryAudio":
        self._folder = TemporaryDirectory(prefix="evalkit-")
        self._count = 0
        return self

    def keep(self, decoded: Source) -> Source:
        """The same audio, in a file."""
        if isinstance(decoded.content, Path):
            return decoded
        self._count += 1
        path = Path(self._folder.name) / f"{self._count}.wav"
        write(path, decoded.audio())
        return Source(path, decoded.pcm)

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()


def describe_dataset(dataset: Dataset) -> dict[str, object]:
    """Which utterances these are, for the provenance."""
    return {
        "name": dataset.name,
        "revision": dataset.revision,
        "license": dataset.license,
        "n": len(dataset),
        "ids_sha256": dataset.ids_hash,
        "selection": dict(dataset.selection),
    }


def seed_everything(seed: int) -> None:
    """Seed numpy and, where it is loaded, torch."""
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)

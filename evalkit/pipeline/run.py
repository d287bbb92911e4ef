"""The main path: every system over every utterance, scored, recorded, summarized.

    plan -> for each system and utterance: load -> encode -> decode -> score -> record -> summarize -> write

Scoring drives: `score_all` pulls jobs from `RunLoop.jobs`, which takes utterances through the systems (encode.py) as
long as workers have room, and gives back scores, which `RunLoop.record` writes as rows. Metrics that hold a model come
last, once all systems are through (`RunLoop.jobs_with_models`): each model is opened once. What to run is in plan.py
and systems.py, scoring in schedule.py and score.py, rows about a whole dataset in pooled.py, and the run directory in
evalkit/results.
"""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from evalkit.cache import Cache
from evalkit.conditions.base import Condition
from evalkit.datasets.base import Utterance
from evalkit.errors import FailFastError
from evalkit.files import slug
from evalkit.metrics.load import load_metric, model_metrics, pair_metrics
from evalkit.pipeline.coders import seed_everything
from evalkit.pipeline.describe import describe_dataset, describe_run, notes_on_weights
from evalkit.pipeline.encode import Reconstruction, System
from evalkit.pipeline.jobs import Candidate, Job, RowScore, Source
from evalkit.pipeline.known_scores import ScoreCache
from evalkit.pipeline.plan import Plan, rows_of, with_texts
from evalkit.pipeline.pooled import corpus_rows, pooled_rows
from evalkit.pipeline.schedule import score_all
from evalkit.pipeline.systems import open_systems
from evalkit.pipeline.temporary import TemporaryAudio
from evalkit.pipeline.tokens import TokenComparison
from evalkit.results.pairing import Pairing
from evalkit.results.rows import CLEAN, Coded, PairKey, Row, with_condition
from evalkit.results.run_directory import REFERENCE_FOLDER, RunWriter, audio_folder
from evalkit.soundfiles import duration, write


class ProgressReporter(Protocol):
    """Who wants to know how far a run is."""

    def start(self, total: int) -> None:
        """`total` utterances are to be taken through systems."""

    def advance(self, what: str, count: float = 1) -> None:
        """`count` more are done, of one a part as well; `what` is under way."""

    def note(self, text: str) -> None:
        """Something that whoever watches should know."""


class Silence:
    """Reports no progress."""

    def start(self, total: int) -> None: ...

    def note(self, text: str) -> None: ...

    def advance(self, what: str, count: float = 1) -> None: ...


def execute(plan: Plan, cache: Cache, progress: ProgressReporter | None = None) -> list[Row]:
    """Run `plan` and write its run directory; the rows are returned as well."""
    plan, notes = with_texts(plan)
    if plan.align:
        notes.append("A constant lag of decoded audio was compensated before scoring (--align).")
    plan.check()
    if plan.max_seconds is not None:
        plan = replace(plan, dataset=plan.dataset.at_most(plan.max_seconds))
    seed_everything(plan.seed)
    systems = open_systems(plan, cache)
    provenance = describe_run(
        plan.metrics,
        codecs={system.name: system.info() for system in systems},
        dataset=describe_dataset(plan.dataset),
        notes=(*plan.dataset.notes, *plan.notes, *notes, *notes_on_weights(plan.metrics, plan.dataset.languages)),
        device=plan.device,
        conditions={} if plan.clean else {one.name: one.info() for one in plan.conditions},
        seed=plan.seed,
        batch=plan.batch,
        align=plan.align or None,
        shard=str(plan.shard) if plan.shard else None,
    )
    names = list(dict.fromkeys(system.name for system in systems))
    with RunWriter(plan.output, names, provenance, plan.overwrite) as writer, TemporaryAudio() as temporary:
        known = ScoreCache(cache)
        progress = progress or Silence()
        for note in plan.dataset.notes:
            progress.note(note)
        progress.start(sum(system.count(plan.utterances) for system in systems))
        loop = RunLoop(plan, systems, writer, temporary, progress)
        scored = score_all(
            loop.jobs(), loop.jobs_with_models, known, plan.workers, plan.batch, cache.folder, plan.device
        )
        try:
            for scores in scored:
                loop.record(scores)
        finally:
            writer.add_utterances(known.references)
            writer.add_pairings(loop.pairings(known.pairings))
        both = [(system.name, system.condition.name) for system in systems]
        both = list(dict.fromkeys([*both, *((row.codec, row.condition) for row in writer.rows)]))
        writer.add(pooled_rows(plan.metrics, both, plan.dataset.name, writer.rows))
        writer.add(corpus_rows(plan.metrics, both, plan.dataset.name, writer.coded))
        if known.hits:
            progress.note(f"{known.hits} scores came from the cache.")
        writer.add_notes(pairing_notes(writer.pairings))
        writer.add_notes(loop.tokens.notes)
        writer.add_notes(note for system in systems for note in system.notes(len(plan.utterances)))
        return writer.rows


@dataclass
class PendingUtterance:
    """An utterance that went through a system and waits for its scores. `kbps` as measured, or as declared for rendered
    audio, and None where encoding or decoding failed."""

    system: str
    condition: str
    utterance: Utterance
    kbps: float | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    def row(self, dataset: str, score: RowScore) -> Row:
        """The row of one of its scores."""
        u, extra = self.utterance, dict(self.extra)
        condition = extra.pop("condition", "") or self.condition  # of decoded audio, as a manifest says
        return Row(
            self.system, dataset, u.id, score.metric, score.value, score.reason,
            self.kbps, u.language or None, u.speaker or None, extra, condition,
        )  # fmt: skip


class RunLoop:
    """What is to be scored, and what came of it. The position of a PendingUtterance is the key of its scores."""

    def __init__(
        self,
        plan: Plan,
        systems: Sequence[System],
        writer: RunWriter,
        temporary: TemporaryAudio,
        progress: ProgressReporter,
    ) -> None:
        self._plan, self._systems = plan, systems
        self._writer, self._temporary, self._progress = writer, temporary, progress
        self._light, self._heavy = pair_metrics(plan.metrics), model_metrics(plan.metrics)
        self._step = 1 / (1 + sum(len(load_metric(name).rows) for name in (*self._light, *self._heavy)))
        """What going through a system counts of an utterance, and what each of its scores does."""
        self.tokens = TokenComparison(plan.metrics)
        self._pending: list[PendingUtterance] = []
        self._together: dict[tuple[str, str], Job] = {}
        """What waits until all systems are through, so that a job has the versions of all of them."""
        self._through = False

    def jobs(self) -> Iterator[Job]:
        """Take every utterance through every system. What came out is to be scored at once; where no system runs here,
        once all are through: each reference is read once."""
        rendered = not any(system.runs for system in self._systems)
        for system in self._systems:
            condition = system.condition
            for utterance, result in system.reconstructions(self._plan.utterances):
                pending = PendingUtterance(system.name, condition.name, utterance)
                self._pending.append(pending)
                key = len(self._pending) - 1
                if not isinstance(result, Reconstruction):  # costs this utterance, not the run
                    self._fail(key, result)
                    continue
                pending.kbps, pending.extra = result.kbps, result.extra
                self._keep(system, utterance, result)
                if waiting := (*(self._light if rendered else ()), *self._heavy):
                    self._add(Candidate(key, result.decoded, waiting), utterance, result, condition)
                if self._light and not rendered:
                    candidate = Candidate(key, result.decoded, self._light)
                    yield self._job(result.reference, candidate, utterance, condition)
                self._progress.advance(system.name, self._step)
        self._through = True
        if rendered:
            yield from self._together.values()

    def jobs_with_models(self) -> list[Job] | None:
        """What metrics that hold a model are to score; None while systems are at work."""
        return list(self._together.values()) if self._through else None

    def record(self, scores: Sequence[RowScore]) -> None:
        """Write `scores` as rows."""
        self._writer.add(self._pending[one.key].row(self._plan.dataset.name, one) for one in scores)
        for score in scores:
            if score.trace:
                self._trace(f"{score.metric}: {score.reason}", score.trace)
        if scores:
            what = scores[0].metric if self._through else self._pending[scores[0].key].system
            self._progress.advance(what, len(scores) * self._step)

    def pairings(self, found: Mapping[int, Pairing]) -> dict[PairKey, Pairing]:
        """What was found of pairs."""
        pairs = {key: self._pending[key] for key in found}
        return {(p.system, p.condition, p.utterance.id): found[key] for key, p in pairs.items()}

    def _fail(self, key: int, error: Exception) -> None:
        pending = self._pending[key]
        rows = [*rows_of(self._plan.metrics), *(self.tokens.rows if pending.condition != CLEAN else ())]
        name = self._plan.dataset.name
        self._writer.add(
            pending.row(name, RowScore(key, row, None, str(error) or type(error).__name__)) for row in rows
        )
        if error.__cause__ is not None:
            self._trace(f"{pending.system}: {error}", "".join(traceback.format_exception(error.__cause__)))
        self._progress.advance(pending.system, 1)

    def _trace(self, what: str, text: str) -> None:
        """Keep the first traceback of each kind; with --debug show it, with --fail-fast stop."""
        kind = f"{what.partition(':')[0]}: {text.rstrip().splitlines()[-1].partition(':')[0]}"
        if self._writer.add_error(kind, text) and self._plan.debug:
            print(f"{what}\n{text}", file=sys.stderr)
        if self._plan.fail_fast:
            raise FailFastError(f"{what} (--fail-fast; the traceback is in {self._writer.path / 'errors.txt'})")

    def _keep(self, system: System, utterance: Utterance, result: Reconstruction) -> None:
        name, dataset, condition = system.name, self._plan.dataset.name, system.condition
        clean = condition.against == "clean"
        if self._plan.save_audio:
            run, file = self._plan.output, f"{slug(utterance.id)}.wav"
            write(audio_folder(run, name, condition.name) / file, result.decoded.audio())
            originals = audio_folder(run, REFERENCE_FOLDER, CLEAN if clean else condition.name)
            if not (originals / file).exists():
                write(originals / file, result.reference.audio())
        if result.codes is not None and (identity := result.reference.identity) is not None:
            coded = Coded(name, dataset, utterance.id, identity.seconds, result.codes, condition.name)
            self._writer.add_codes(coded)
            if clean:
                self._writer.add_utterances({utterance.id: identity})
            pending = self._pending[-1]
            scores = self.tokens.scores(
                name, utterance.id, condition.name, result.tokens, system.offset, system.frame_rate
            )
            self._writer.add(pending.row(dataset, one) for one in scores)

    def _job(self, reference: Source, candidate: Candidate, utterance: Utterance, condition: Condition) -> Job:
        return Job(
            reference,
            (candidate,),
            utterance.transcript if condition.keeps_text else None,
            utterance.language,
            utterance.id if condition.against == "clean" else "",
            align=self._plan.align,
        )

    def _add(self, candidate: Candidate, utterance: Utterance, result: Reconstruction, condition: Condition) -> None:
        """Let one more version of `utterance` wait."""
        candidate = replace(candidate, source=self._temporary.store(result.decoded))
        shared = utterance.id, "" if condition.against == "clean" else condition.name
        if job := self._together.get(shared):
            self._together[shared] = replace(job, candidates=(*job.candidates, candidate))
            return
        reference = Source(utterance.source, result.reference.identity)
        if condition.against == "input":
            reference = self._temporary.store(result.reference)
        seconds = self._seconds(reference) if self._heavy else 0.0
        job = self._job(reference, candidate, utterance, condition)
        self._together[shared] = replace(job, device=self._plan.device, seconds=seconds)

    def _seconds(self, reference: Source) -> float:
        if reference.identity is not None:
            return reference.identity.seconds
        return duration(reference.content) if isinstance(reference.content, Path) else 0.0


def pairing_notes(pairings: Mapping[PairKey, Pairing]) -> Iterator[str]:
    """A sentence for each system whose audio does not seem to belong to its references."""
    by_system: dict[str, dict[str, tuple[str, ...]]] = {}
    for (name, condition, utterance), one in pairings.items():
        by_system.setdefault(name, {})[with_condition(utterance, condition)] = one.problems()
    for system, mine in by_system.items():
        wrong = {utterance: problems for utterance, problems in sorted(mine.items()) if problems}
        if wrong:
            some = "; ".join(f"{utterance}: {', '.join(found)}" for utterance, found in list(wrong.items())[:3])
            more = "; …" if len(wrong) > 3 else ""
            yield f"{system}: {len(wrong)} of {len(mine)} recordings differ from their references ({some}{more})."

"""Scoring: a reference, what codecs made of it, and what the metrics say.

The main process looks up what is known already (evalkit/cache.py); the rest runs in worker processes. Metrics that
hold a model run beside the others, in a process of their own, one model after the other: each is opened once, scores
what all codecs made, and is closed before the next one is opened, so that never two of them are in memory.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.audio import RESAMPLER, Audio, read
from evalkit.cache import Cache, content_key
from evalkit.codecs import Wave
from evalkit.errors import AudioError, UndefinedScore
from evalkit.executors import Death, Executor, Processes, Workers, default_workers, run_isolated
from evalkit.metrics.base import SCORE_RATE, ModelMetric, Pair, PairMetric, Scorer
from evalkit.metrics.load import load_metric

LENGTH_TOLERANCE = 0.25
"""Seconds by which a decoded file may differ in length from its reference; within it, the longer one is trimmed.
Codecs add up to a frame (80 ms); more means that something else than the codec made the file."""

PRELOAD = ("evalkit.score", "pesq", "pystoi", "scipy.fft", "scipy.signal")


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
class Answer:
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

    answers: list[Answer]
    pcm: dict[Path, str] = field(default_factory=dict)


def score_all(
    jobs: Iterable[Job], kept: Cache, workers: Executor | None = None, batch: int = 1
) -> Iterator[list[Answer]]:
    """Answers of all jobs, in the order in which they are done; a crash costs the one answer that caused it. Without
    `workers`, processes on this machine. A list of jobs may have metrics that hold a model, which are scored beside the
    others, `batch` recordings at once; jobs that are still to come may not.
    """
    workers = workers or scoring_processes()
    memory = Memory(kept)
    known: list[list[Answer]] = []

    def unknown(parts: Iterable[Job]) -> Iterator[Job]:
        for job in parts:
            answers, rest = memory.recall(job)
            if answers:
                known.append(answers)
            if rest is not None:
                yield rest if workers.here else _carried(rest)

    light = unknown(part for job in jobs for part in _only(job, pair_metrics))
    lanes: list[tuple[Iterable[tuple[Job, ...]], Workers]] = [(((job,) for job in light), workers)]
    if isinstance(jobs, Sequence) and jobs:
        # The last digits of what is heard in batches depend on the batch: it is not kept for other runs.
        folder = kept.folder if workers.here and batch == 1 else None
        heavy = _by_model([replace(job, batch=batch, kept=folder) for job in jobs])
        groups = (group for parts in heavy for group in _groups(unknown(parts)))
        lanes.append((groups, workers.models(jobs[0].device)))
    for result in run_isolated(score_jobs, split_jobs, *lanes):
        yield from known
        known.clear()
        if isinstance(result, Death):
            (job,) = result.job
            (candidate,) = job.candidates
            yield _without_value(candidate.key, candidate.metrics[0], result.reason, settled=False)
        else:
            memory.keep(result)
            yield result.answers
    yield from known


def scoring_processes(count: int | None = None) -> Processes:
    """`count` processes on this machine, one a core unless given, that have the metrics' packages at hand."""
    return Processes(count, PRELOAD)


def _by_model(jobs: Sequence[Job]) -> list[Iterator[Job]]:
    """For each model that `jobs` need, the jobs with its metrics alone: those in one language together, the longest
    first, so that what is too long for the memory is known soon and neighbours differ little in length."""
    models: dict[str, set[str]] = {}
    for name in model_metrics(list(dict.fromkeys(m for job in jobs for c in job.candidates for m in c.metrics))):
        models.setdefault(_model_metric(name).model, set()).add(name)
    ordered = sorted(jobs, key=lambda job: (job.language or "", -job.seconds))

    def parts(mine: set[str]) -> Iterator[Job]:
        for job in ordered:
            yield from _only(job, lambda names: tuple(name for name in names if name in mine))

    return [parts(mine) for mine in models.values()]


def _only(job: Job, choose: Callable[[Sequence[str]], tuple[str, ...]]) -> Iterator[Job]:
    """`job` with those metrics alone that `choose` takes, if it has any of them."""
    wanted = [(c, choose(c.metrics)) for c in job.candidates]
    if candidates := tuple(replace(c, metrics=mine) for c, mine in wanted if mine):
        yield replace(job, candidates=candidates)


def _carried(job: Job) -> Job:
    """`job` for another machine: with the audio itself, but for files that only their name is known of."""

    def carried(source: Source) -> Source:
        try:
            return source if source.pcm is None else replace(source, content=source.audio())
        except AudioError:  # the worker says what is wrong with it
            return source

    candidates = tuple(replace(one, source=carried(one.source)) for one in job.candidates)
    return replace(job, reference=carried(job.reference), candidates=candidates)


def _groups(jobs: Iterable[Job]) -> Iterator[tuple[Job, ...]]:
    """`jobs` of one model as it hears them: together, up to a batch of recordings in one language, where it may hear
    recordings of different length at once; else one by one."""
    group: list[Job] = []
    for job in jobs:
        pads = _model_metric(job.candidates[0].metrics[0]).pads
        recordings = sum(len(one.candidates) for one in (*group, job))
        if group and (not pads or recordings > job.batch or job.language != group[0].language):
            yield tuple(group)
            group = []
        group.append(job)
    if group:
        yield tuple(group)


class Memory:
    """The cache, in terms of jobs and answers."""

    def __init__(self, kept: Cache) -> None:
        self._kept = kept
        self._digests: dict[Path, str] = {}
        self._waiting: dict[tuple[int, str], tuple[str, Source, Source, Job]] = {}

    def recall(self, job: Job) -> tuple[list[Answer], Job | None]:
        """The answers that are known, and the job without them: None where nothing is left to do."""
        reference = self._identify(job.reference)
        candidates = [replace(c, source=self._identify(c.source)) for c in job.candidates]
        keys = {
            (candidate.key, row): score_key(metric, reference.pcm, candidate.source.pcm, job, row)
            for candidate in candidates
            for metric in candidate.metrics
            for row in load_metric(metric).rows
            if reference.pcm and candidate.source.pcm
        }
        found = self._kept.scores(list(keys.values()))
        done = {
            (candidate.key, metric)
            for candidate in candidates
            for metric in candidate.metrics
            if all(keys.get((candidate.key, row)) in found for row in load_metric(metric).rows)
        }
        answers = [Answer(key, row, *found[keys[key, row]]) for key, metric in done for row in load_metric(metric).rows]
        rest = []
        for candidate in candidates:
            metrics = tuple(m for m in candidate.metrics if (candidate.key, m) not in done)
            if metrics:
                rest.append(replace(candidate, metrics=metrics))
                for metric in metrics:
                    for row in load_metric(metric).rows:
                        self._waiting[candidate.key, row] = (metric, reference, candidate.source, job)
        return answers, replace(job, reference=reference, candidates=tuple(rest)) if rest else None

    def keep(self, scored: Scored) -> None:
        """Keep the answers that another try could not change."""
        self._kept.keep_pcm({self._digests[path]: pcm for path, pcm in scored.pcm.items() if path in self._digests})
        scores = {}
        for answer in scored.answers:
            metric, reference, decoded, job = self._waiting.pop((answer.key, answer.metric))
            before, after = (
                s.pcm or (scored.pcm.get(s.content) if isinstance(s.content, Path) else None)
                for s in (reference, decoded)
            )
            if answer.settled and before and after:
                scores[score_key(metric, before, after, job, answer.metric)] = (answer.value, answer.reason)
        self._kept.keep_scores(scores)

    def _identify(self, source: Source) -> Source:
        """`source` with its hash, where finding it takes no decoding."""
        if source.pcm is not None:
            return source
        if isinstance(source.content, Audio):
            return replace(source, pcm=source.content.pcm_hash())
        if not isinstance(source.content, Path):
            return source
        path = source.content
        if path not in self._digests:
            try:
                with path.open("rb") as file:
                    self._digests[path] = file_digest(file, "sha256").hexdigest()
            except OSError:  # the worker says what is wrong with it
                return source
        digest = self._digests[path]
        return replace(source, pcm=self._kept.pcm_of([digest]).get(digest))


def score_key(
    metric: str, reference: str | None, decoded: str | None, job: Job | None = None, row: str | None = None
) -> str:
    """Names a score by all that determines it: the metric's identity holds its version, settings and weights. `job` has
    text and device, which count where a metric holds a model; `row` is the one of the metric's rows that it is."""
    known = load_metric(metric)
    more: dict[str, Any] = {}
    if isinstance(known, ModelMetric) and job is not None:
        more = {"row": row, "device": job.device} | ({"batch": job.batch} if job.batch > 1 else {})
        more |= {"transcript": job.transcript, "language": job.language} if known.uses_text else {}
    return content_key(
        **known.identity(job.language if job else None),
        **more,
        reference=reference,
        decoded=decoded,
        resampler=RESAMPLER,
        rate=SCORE_RATE,
        tolerance=LENGTH_TOLERANCE,
    )


def split_jobs(jobs: tuple[Job, ...]) -> list[tuple[Job, ...]]:
    """First each job alone, then one job a candidate, then one a metric: the least work done twice to find which of
    them crashes."""
    if len(jobs) > 1:
        return [(job,) for job in jobs]
    (job,) = jobs
    if len(job.candidates) > 1:
        return [(replace(job, candidates=(candidate,)),) for candidate in job.candidates]
    (candidate,) = job.candidates
    return [(replace(job, candidates=(replace(candidate, metrics=(metric,)),)),) for metric in candidate.metrics]


def score_jobs(jobs: tuple[Job, ...]) -> Scored:
    """Every metric for every candidate of `jobs`. Runs in a worker process."""
    scored = Scored([])
    pairs = [(candidate, pair) for job in jobs for candidate, pair in _pairs(job, scored)]
    for name in dict.fromkeys(name for candidate, _ in pairs for name in candidate.metrics):
        mine = [(candidate.key, pair) for candidate, pair in pairs if name in candidate.metrics]
        score = _score_function(name, [pair for _, pair in mine], jobs[0])
        scored.answers.extend(answer for key, pair in mine for answer in _answer(key, name, score, pair))
    return scored


def _pairs(job: Job, scored: Scored) -> Iterator[tuple[Candidate, Pair]]:
    """The candidates of `job` that can be read, each with its pair; the others are answered in `scored`."""
    try:
        reference = _load(job.reference, "reference", scored)
    except AudioError as error:
        for candidate in job.candidates:
            scored.answers.extend(_refuse(candidate, error))
        return
    for candidate in job.candidates:
        try:
            decoded = _load(candidate.source, "decoded audio", scored)
            yield candidate, Pair(*_same_length(reference, decoded), job.transcript, job.language)
        except AudioError as error:
            scored.answers.extend(_refuse(candidate, error))


def _score_function(name: str, pairs: Sequence[Pair], job: Job) -> Callable[[Pair], Mapping[str, float]]:
    """What scores each of `pairs` by the metric `name`."""
    metric = load_metric(name)
    if isinstance(metric, PairMetric):
        return lambda pair: {name: float(metric.score(pair))}
    assert isinstance(metric, ModelMetric)
    with suppress(Exception):  # it comes again where it costs a row: too little memory for the batch may do for one
        _opened(metric, job).prepare(metric, pairs, job.batch)
    return lambda pair: _opened(metric, job).score(metric, pair)


def _answer(key: int, name: str, score: Callable[[Pair], Mapping[str, float]], pair: Pair) -> list[Answer]:
    try:
        values = score(pair)
        for value in values.values():
            if not np.isfinite(value):
                raise UndefinedScore(f"the metric returned {value}")
    except UndefinedScore as error:
        return _without_value(key, name, str(error))
    except Exception as error:  # a bug in one metric costs its own rows, and says so in them
        return _without_value(key, name, f"{type(error).__name__}: {error}", settled=False)
    return [Answer(key, row, value) for row, value in values.items()]


_OPEN: dict[tuple[str, str], Scorer] = {}
"""The model that this process has open: one, or none yet."""


def _opened(metric: ModelMetric, job: Job) -> Scorer:
    """The open model of `metric`; another one is closed for it."""
    which = (metric.model, job.device)
    if which not in _OPEN:
        import torch

        torch.set_num_threads(default_workers())  # all of them, whatever else runs: the count may change last digits
        _OPEN.clear()
        gc.collect()
        _OPEN[which] = metric.open(job.device)
        _OPEN[which].device = job.device
        _OPEN[which].originals = None if job.kept is None else Cache(job.kept)
    return _OPEN[which]


def _model_metric(name: str) -> ModelMetric:
    metric = load_metric(name)
    assert isinstance(metric, ModelMetric)
    return metric


def _without_value(key: int, metric: str, reason: str, settled: bool = True) -> list[Answer]:
    return [Answer(key, row, None, reason, settled) for row in load_metric(metric).rows]


def _refuse(candidate: Candidate, error: AudioError) -> list[Answer]:
    return [a for m in candidate.metrics for a in _without_value(candidate.key, m, str(error), settled=False)]


def _load(source: Source, what: str, scored: Scored) -> Wave:
    audio = source.audio()
    if isinstance(source.content, Path):
        scored.pcm[source.content] = source.pcm or audio.pcm_hash()
    if not np.isfinite(audio.wav).all():
        raise AudioError(f"{what} holds NaN or infinite samples")
    return audio.at(SCORE_RATE).wav


def _same_length(reference: Wave, decoded: Wave) -> tuple[Wave, Wave]:
    if abs(len(reference) - len(decoded)) > LENGTH_TOLERANCE * SCORE_RATE:
        raise AudioError(
            f"lengths differ by more than {LENGTH_TOLERANCE} s: reference {len(reference) / SCORE_RATE:.3f} s, "
            f"decoded {len(decoded) / SCORE_RATE:.3f} s"
        )
    length = min(len(reference), len(decoded))
    return reference[:length], decoded[:length]


def pair_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that score pairs of waveforms and hold no model."""
    return tuple(name for name in names if isinstance(load_metric(name), PairMetric))


def model_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that hold a model."""
    return tuple(name for name in names if isinstance(load_metric(name), ModelMetric))

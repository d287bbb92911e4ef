"""Which job is scored when, and by whom.

The main process looks up what is in the cache (known_scores.py); the rest runs in worker processes (score.py). Metrics
that hold a model run beside the others, in a process of their own, one model after the other: each is opened once,
scores what all codecs decoded, and is closed before the next one is opened, so that never two of them are in memory.
They wait until all codecs are through; the other metrics do not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

from evalkit.environment.machine import available_memory, default_workers
from evalkit.errors import AudioError
from evalkit.metrics.load import load_metric, model_metric, model_metrics, pair_metrics
from evalkit.pipeline.jobs import Job, RowScore, Source
from evalkit.pipeline.known_scores import ScoreCache
from evalkit.pipeline.score import score_jobs, without_value
from evalkit.pipeline.workers import TIMEOUT, CrashedJob, Executor, Processes, run_isolated

MEMORY_A_WORKER = 2**30
"""Bytes that a worker may need for a recording of some minutes: more workers than fit are not started."""
MEMORY_A_SECOND = 220_000
"""Bytes that a worker may need for a second of a reference, and for one of decoded audio."""
LONG = 600.0
"""Seconds of a recording whose decoded versions are scored one by one, so that never all of them are in memory."""


def score_all(
    jobs: Iterable[Job],
    with_models: Callable[[], Sequence[Job] | None],
    known: ScoreCache,
    workers: Executor,
    batch: int = 1,
    cache: Path | None = None,
    device: str = "cpu",
) -> Iterator[list[RowScore]]:
    """Scores of all jobs, in the order in which they are done; a crash costs the one score that caused it.

    Of `jobs`, the metrics that hold no model are scored as they come. Those that hold one are scored beside them, on
    `device`, for what `with_models` returns once that is not None: at the latest when all of `jobs` have been drawn. A
    model takes `batch` recordings at once, and keeps features of references in the folder `cache`.
    """
    found: list[list[RowScore]] = []

    def unknown(parts: Iterable[Job]) -> Iterator[Job]:
        for job in parts:
            scores, rest = known.look_up(replace(job, timeout=workers.timeout))
            if scores:
                found.append(scores)
            if rest is not None:
                for one in _by_candidate(rest):
                    yield one if workers.here else _carried(one)

    def heavy() -> Iterator[tuple[Job, ...] | None]:
        while (whole := with_models()) is None:
            yield None
        # The last digits of features depend on the batch that they are inferred in: only those of single runs are kept.
        folder = cache if workers.here and batch == 1 else None
        for parts in _by_model([replace(job, batch=batch, cache=folder) for job in whole]):
            yield from _groups(unknown(parts))

    light = unknown(replace(part, check=True) for job in jobs for part in _only(job, pair_metrics))
    lanes = (((job,) for job in light), workers), (heavy(), workers.models(device))
    memory = (available_memory() if workers.here else None) or inf
    for result in run_isolated(score_jobs, split_jobs, *lanes, need=_memory_of, memory=memory):
        yield from found
        found.clear()
        if isinstance(result, CrashedJob):
            (job,) = result.job
            (candidate,) = job.candidates
            if candidate.metrics:  # else its pairing alone was to be checked
                yield without_value(candidate.key, candidate.metrics[0], result.reason, settled=False)
        else:
            known.store(result)
            yield result.scores
    yield from found


def scoring_processes(
    jobs: int | None = None, timeout: float = TIMEOUT, metrics: Sequence[str] = (), device: str = "cpu"
) -> Processes:
    """The executor `processes`: on this machine, by default one a core, as far as the memory goes.

    They share what `metrics` import. What the first run of a process shares, later ones do: beyond that, workers import
    their own.
    """
    if jobs is None and (free := available_memory()):
        jobs = max(1, min(default_workers(), free // MEMORY_A_WORKER))
    shared = dict.fromkeys(module for name in metrics for module in load_metric(name).imports)
    return Processes(jobs, (score_jobs.__module__, *shared), timeout, _steps)


def _steps(jobs: tuple[Job, ...]) -> int:
    """Scores of `jobs`: each may take the whole timeout."""
    return sum(1 + len(candidate.metrics) for job in jobs for candidate in job.candidates)


def _by_model(jobs: Sequence[Job]) -> list[Iterator[Job]]:
    """For each model that `jobs` need, the jobs with its metrics alone: those in one language together, the longest
    first, so that what is too long for the memory is known soon and neighbours differ little in length."""
    models: dict[str, set[str]] = {}
    for name in model_metrics(list(dict.fromkeys(m for job in jobs for c in job.candidates for m in c.metrics))):
        models.setdefault(model_metric(name).model, set()).add(name)
    ordered = sorted(jobs, key=lambda job: (job.language or "", -job.seconds))

    def parts(mine: set[str]) -> Iterator[Job]:
        for job in ordered:
            yield from _only(job, lambda names: tuple(name for name in names if name in mine))

    return [parts(mine) for mine in models.values()]


def _memory_of(jobs: tuple[Job, ...]) -> float:
    """Bytes that scoring `jobs` may take."""
    seconds = (job.reference.seconds() + sum(one.source.seconds() for one in job.candidates) for job in jobs)
    return MEMORY_A_SECOND * sum(seconds)


def _by_candidate(job: Job) -> Iterator[Job]:
    """`job`, or where its recordings are long one for each of its candidates."""
    if len(job.candidates) == 1 or job.reference.seconds() <= LONG:
        yield job
    else:
        yield from (replace(job, candidates=(candidate,)) for candidate in job.candidates)


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
    """`jobs` of one model as it takes them: up to a batch of recordings in one language together, where recordings of
    different length may share a batch; else one by one."""
    group: list[Job] = []
    for job in jobs:
        pads = model_metric(job.candidates[0].metrics[0]).pads
        recordings = sum(len(one.candidates) for one in (*group, job))
        if group and (not pads or recordings > job.batch or job.language != group[0].language):
            yield tuple(group)
            group = []
        group.append(job)
    if group:
        yield tuple(group)


def split_jobs(jobs: tuple[Job, ...]) -> list[tuple[Job, ...]]:
    """First each job alone, then one job a candidate, then one a metric: the least work done twice to find which of
    them crashes."""
    if len(jobs) > 1:
        return [(job,) for job in jobs]
    (job,) = jobs
    if len(job.candidates) > 1:
        return [(replace(job, candidates=(candidate,)),) for candidate in job.candidates]
    (candidate,) = job.candidates
    return [
        (replace(job, check=False, candidates=(replace(candidate, metrics=(metric,)),)),)
        for metric in candidate.metrics
    ]

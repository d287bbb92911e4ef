"""Scoring: a reference, what codecs made of it, and what the metrics say.

The main process looks up what is known already (evalkit/cache.py); the rest runs in worker processes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import file_digest
from pathlib import Path

import numpy as np

from evalkit import plugins
from evalkit.audio import RESAMPLER, Audio, read
from evalkit.cache import Cache, content_key
from evalkit.codecs import Wave
from evalkit.errors import AudioError, UndefinedScore
from evalkit.executors import Death, run_isolated
from evalkit.metrics.base import SCORE_RATE, Pair, PairMetric

LENGTH_TOLERANCE = 0.25
"""Seconds by which a decoded file may differ in length from its reference; within it, the longer one is trimmed.
Codecs add up to a frame (80 ms); more means that something else than the codec made the file."""

PRELOAD = ("evalkit.score", "pesq", "pystoi", "scipy.fft", "scipy.signal")


@dataclass(frozen=True)
class Source:
    """Audio in a file or in memory, and the hash of its samples where that is known."""

    content: Path | Audio
    pcm: str | None = None


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


@dataclass(frozen=True)
class Answer:
    """What one metric says of one candidate: a value, or the reason why there is none."""

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


def score_all(jobs: Iterable[Job], kept: Cache, workers: int | None = None) -> Iterator[list[Answer]]:
    """Answers of all jobs, in the order in which they are done; a crash costs the one answer that caused it."""
    memory = Memory(kept)
    known: list[list[Answer]] = []

    def unknown() -> Iterator[Job]:
        for job in jobs:
            answers, rest = memory.recall(job)
            if answers:
                known.append(answers)
            if rest is not None:
                yield rest

    for result in run_isolated(score_job, unknown(), split_job, workers, PRELOAD):
        yield from known
        known.clear()
        if isinstance(result, Death):
            (candidate,) = result.job.candidates
            yield [Answer(candidate.key, candidate.metrics[0], None, result.reason, settled=False)]
        else:
            memory.keep(result)
            yield result.answers
    yield from known


class Memory:
    """The cache, in terms of jobs and answers."""

    def __init__(self, kept: Cache) -> None:
        self._kept = kept
        self._digests: dict[Path, str] = {}
        self._waiting: dict[tuple[int, str], tuple[Source, Source]] = {}

    def recall(self, job: Job) -> tuple[list[Answer], Job | None]:
        """The answers that are known, and the job without them: None where nothing is left to do."""
        reference = self._identify(job.reference)
        candidates = [replace(c, source=self._identify(c.source)) for c in job.candidates]
        keys = {
            (candidate.key, metric): score_key(metric, reference.pcm, candidate.source.pcm)
            for candidate in candidates
            for metric in candidate.metrics
            if reference.pcm and candidate.source.pcm
        }
        found = self._kept.scores(list(keys.values()))
        answers = [Answer(*which, *found[key]) for which, key in keys.items() if key in found]
        done = {(answer.key, answer.metric) for answer in answers}
        rest = []
        for candidate in candidates:
            metrics = tuple(m for m in candidate.metrics if (candidate.key, m) not in done)
            if metrics:
                rest.append(replace(candidate, metrics=metrics))
                self._waiting |= {(candidate.key, metric): (reference, candidate.source) for metric in metrics}
        return answers, replace(job, reference=reference, candidates=tuple(rest)) if rest else None

    def keep(self, scored: Scored) -> None:
        """Keep the answers that another try could not change."""
        self._kept.keep_pcm({self._digests[path]: pcm for path, pcm in scored.pcm.items() if path in self._digests})
        scores = {}
        for answer in scored.answers:
            sources = self._waiting.pop((answer.key, answer.metric))
            hashes = [s.pcm or (scored.pcm.get(s.content) if isinstance(s.content, Path) else None) for s in sources]
            if answer.settled and all(hashes):
                scores[score_key(answer.metric, *hashes)] = (answer.value, answer.reason)
        self._kept.keep_scores(scores)

    def _identify(self, source: Source) -> Source:
        """`source` with its hash, where finding it takes no decoding."""
        if source.pcm is not None:
            return source
        if isinstance(source.content, Audio):
            return replace(source, pcm=source.content.pcm_hash())
        path = source.content
        if path not in self._digests:
            try:
                with path.open("rb") as file:
                    self._digests[path] = file_digest(file, "sha256").hexdigest()
            except OSError:  # the worker says what is wrong with it
                return source
        digest = self._digests[path]
        return replace(source, pcm=self._kept.pcm_of([digest]).get(digest))


def score_key(metric: str, reference: str | None, decoded: str | None) -> str:
    """Names a score by all that determines it; a metric's repr holds its version and every setting."""
    return content_key(
        metric=repr(load_metric(metric)),
        reference=reference,
        decoded=decoded,
        resampler=RESAMPLER,
        rate=SCORE_RATE,
        tolerance=LENGTH_TOLERANCE,
    )


def split_job(job: Job) -> list[Job]:
    """First one job a candidate, then one a metric: the least work done twice to find which of them crashes."""
    if len(job.candidates) > 1:
        return [replace(job, candidates=(candidate,)) for candidate in job.candidates]
    (candidate,) = job.candidates
    return [replace(job, candidates=(replace(candidate, metrics=(metric,)),)) for metric in candidate.metrics]


def score_job(job: Job) -> Scored:
    """Every metric for every candidate of `job`. Runs in a worker process."""
    scored = Scored([])
    try:
        reference = _load(job.reference, "reference", scored)
    except AudioError as error:
        for candidate in job.candidates:
            scored.answers.extend(_refuse(candidate, error))
        return scored
    for candidate in job.candidates:
        try:
            decoded = _load(candidate.source, "decoded audio", scored)
            pair = Pair(*_same_length(reference, decoded), job.transcript, job.language)
        except AudioError as error:
            scored.answers.extend(_refuse(candidate, error))
        else:
            scored.answers.extend(_answer(candidate.key, metric, pair) for metric in candidate.metrics)
    return scored


def _answer(key: int, name: str, pair: Pair) -> Answer:
    try:
        value = float(load_metric(name).score(pair))
        if not np.isfinite(value):
            raise UndefinedScore(f"the metric returned {value}")
    except UndefinedScore as error:
        return Answer(key, name, None, str(error))
    except Exception as error:  # a bug in one metric costs its own rows, and says so in them
        return Answer(key, name, None, f"{type(error).__name__}: {error}", settled=False)
    return Answer(key, name, value)


def _refuse(candidate: Candidate, error: AudioError) -> list[Answer]:
    return [Answer(candidate.key, metric, None, str(error), settled=False) for metric in candidate.metrics]


def _load(source: Source, what: str, scored: Scored) -> Wave:
    audio = source.content
    if isinstance(audio, Path):
        path, audio = audio, read(audio)
        scored.pcm[path] = source.pcm or audio.pcm_hash()
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


@cache
def load_metric(name: str) -> PairMetric:
    """The metric registered as `name`, which scores pairs."""
    metric: PairMetric = plugins.load("metric", name)
    return metric


def pair_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that score pairs of waveforms."""
    return tuple(name for name in names if isinstance(plugins.load("metric", name), PairMetric))

"""Scoring: a reference, what codecs made of it, and what the metrics say. Runs inside worker processes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from evalkit import plugins
from evalkit.audio import Audio, read
from evalkit.codecs import Wave
from evalkit.errors import AudioError, UndefinedScore
from evalkit.executors import Death, run_isolated
from evalkit.metrics.base import SCORE_RATE, Pair, PairMetric

LENGTH_TOLERANCE = 0.25
"""Seconds by which a decoded file may differ in length from its reference; within it, the longer one is trimmed.
Codecs add up to a frame (80 ms); more means that something else than the codec made the file."""

PRELOAD = ("evalkit.score", "pesq", "pystoi", "scipy.fft", "scipy.signal")


@dataclass(frozen=True)
class Candidate:
    """One decoded version of a reference. `key` comes back with its answers."""

    key: int
    source: Path | Audio


@dataclass(frozen=True)
class Job:
    """One reference, its candidates, and the metrics to compute: everything that shares a resampled reference."""

    reference: Path | Audio
    candidates: tuple[Candidate, ...]
    metrics: tuple[str, ...]
    transcript: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Answer:
    """What one metric says of one candidate: a value, or the reason why there is none."""

    key: int
    metric: str
    value: float | None
    reason: str | None = None


def score_all(jobs: Iterable[Job], workers: int | None = None) -> Iterator[list[Answer]]:
    """Answers of all jobs, in the order in which they are done; a crash costs the one answer that caused it."""
    for result in run_isolated(score_job, jobs, split_job, workers, PRELOAD):
        if isinstance(result, Death):
            job = result.job
            yield [Answer(job.candidates[0].key, job.metrics[0], None, result.reason)]
        else:
            yield result


def split_job(job: Job) -> list[Job]:
    """First one job a candidate, then one a metric: the least work done twice to find which of them crashes."""
    if len(job.candidates) > 1:
        return [replace(job, candidates=(candidate,)) for candidate in job.candidates]
    return [replace(job, metrics=(metric,)) for metric in job.metrics]


def score_job(job: Job) -> list[Answer]:
    """Every metric for every candidate of `job`."""
    try:
        reference = _load(job.reference, "reference")
    except AudioError as error:
        return [Answer(c.key, m, None, str(error)) for c in job.candidates for m in job.metrics]
    return [answer for candidate in job.candidates for answer in _score(job, reference, candidate)]


def _score(job: Job, reference: Wave, candidate: Candidate) -> list[Answer]:
    try:
        decoded = _load(candidate.source, "decoded audio")
        pair = Pair(*_same_length(reference, decoded), job.transcript, job.language)
    except AudioError as error:
        return [Answer(candidate.key, metric, None, str(error)) for metric in job.metrics]
    answers = []
    for name in job.metrics:
        try:
            value = _metric(name).score(pair)
            if not np.isfinite(value):
                raise UndefinedScore(f"the metric returned {value}")
            answers.append(Answer(candidate.key, name, float(value)))
        except UndefinedScore as error:
            answers.append(Answer(candidate.key, name, None, str(error)))
        except Exception as error:  # a bug in one metric costs its own rows, and says so in them
            answers.append(Answer(candidate.key, name, None, f"{type(error).__name__}: {error}"))
    return answers


def _load(source: Path | Audio, what: str) -> Wave:
    audio = source if isinstance(source, Audio) else read(source)
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
def _metric(name: str) -> PairMetric:
    metric: PairMetric = plugins.load("metric", name)
    return metric


def pair_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that score pairs of waveforms."""
    return tuple(name for name in names if isinstance(plugins.load("metric", name), PairMetric))

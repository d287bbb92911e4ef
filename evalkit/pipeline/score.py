"""What a worker process does: every metric for every candidate of a job."""

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from evalkit.audio import Wave
from evalkit.cache import Cache
from evalkit.environment.machine import default_workers
from evalkit.errors import AudioError, UndefinedScore
from evalkit.metrics.base import Pair, PairMetric
from evalkit.metrics.checks import require_at_most, too_long
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric, Scorer
from evalkit.pipeline.jobs import Candidate, Job, Score, Scored, Source
from evalkit.pipeline.known_scores import LENGTH_TOLERANCE


def score_jobs(jobs: tuple[Job, ...]) -> Scored:
    """Every metric for every candidate of `jobs`. Runs in a worker process."""
    scored = Scored([])
    pairs = [(candidate, pair) for job in jobs for candidate, pair in _pairs(job, scored)]
    for name in dict.fromkeys(name for candidate, _ in pairs for name in candidate.metrics):
        rate = load_metric(name).rate
        mine = [(candidate.key, at[rate]) for candidate, at in pairs if name in candidate.metrics]
        score = _score_function(name, [pair for _, pair in mine], jobs[0])
        scored.answers.extend(answer for key, pair in mine for answer in _answer(key, name, score, pair))
    return scored


def _pairs(job: Job, scored: Scored) -> Iterator[tuple[Candidate, dict[int, Pair]]]:
    """The candidates of `job` that can be read, each with its pair at every rate that its metrics take; the others are
    answered in `scored`."""
    rates = {load_metric(name).rate for candidate in job.candidates for name in candidate.metrics}
    try:
        reference = _load(job.reference, "reference", rates, scored)
    except AudioError as error:
        for candidate in job.candidates:
            scored.answers.extend(_refuse(candidate, error))
        return
    for candidate in job.candidates:
        try:
            decoded = _load(candidate.source, "decoded audio", rates, scored)
            yield (
                candidate,
                {
                    rate: Pair(*_same_length(reference[rate], decoded[rate], rate), job.transcript, job.language)
                    for rate in rates
                },
            )
        except AudioError as error:
            scored.answers.extend(_refuse(candidate, error))


def _score_function(name: str, pairs: Sequence[Pair], job: Job) -> Callable[[Pair], Mapping[str, float]]:
    """What scores each of `pairs` by the metric `name`."""
    metric = load_metric(name)
    if isinstance(metric, PairMetric):

        def score(pair: Pair) -> Mapping[str, float]:
            require_at_most(pair, metric)
            return {name: float(metric.score(pair))}

        return score
    assert isinstance(metric, ModelMetric)
    short = [pair for pair in pairs if not too_long(pair, metric)]
    if short:
        with suppress(Exception):  # it comes again where it costs a row: too little memory for the batch may do for one
            _opened(metric, job).prepare(metric, short, job.batch)

    def score_with_model(pair: Pair) -> Mapping[str, float]:
        require_at_most(pair, metric)
        return _opened(metric, job).score(metric, pair)

    return score_with_model


def _answer(key: int, name: str, score: Callable[[Pair], Mapping[str, float]], pair: Pair) -> list[Score]:
    try:
        values = score(pair)
        for value in values.values():
            if not np.isfinite(value):
                raise UndefinedScore(f"the metric returned {value}")
    except UndefinedScore as error:
        return without_value(key, name, str(error))
    except Exception as error:  # a bug in one metric costs its own rows, and says so in them
        return without_value(key, name, f"{type(error).__name__}: {error}", settled=False)
    return [Score(key, row, value) for row, value in values.items()]


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
        _OPEN[which].reference_features = None if job.kept is None else Cache(job.kept)
    return _OPEN[which]


def model_metric(name: str) -> ModelMetric:
    metric = load_metric(name)
    assert isinstance(metric, ModelMetric)
    return metric


def without_value(key: int, metric: str, reason: str, settled: bool = True) -> list[Score]:
    return [Score(key, row, None, reason, settled) for row in load_metric(metric).rows]


def _refuse(candidate: Candidate, error: AudioError) -> list[Score]:
    return [a for m in candidate.metrics for a in without_value(candidate.key, m, str(error), settled=False)]


def _load(source: Source, what: str, rates: Collection[int], scored: Scored) -> dict[int, Wave]:
    """The samples of `source` at each of `rates`."""
    audio = source.audio()
    if isinstance(source.content, Path):
        scored.pcm[source.content] = source.pcm or audio.pcm_hash()
    if not np.isfinite(audio.wav).all():
        raise AudioError(f"{what} holds NaN or infinite samples")
    return {rate: audio.at(rate).wav for rate in rates}


def _same_length(reference: Wave, decoded: Wave, rate: int) -> tuple[Wave, Wave]:
    if abs(len(reference) - len(decoded)) > LENGTH_TOLERANCE * rate:
        raise AudioError(
            f"lengths differ by more than {LENGTH_TOLERANCE} s: reference {len(reference) / rate:.3f} s, "
            f"decoded {len(decoded) / rate:.3f} s"
        )
    length = min(len(reference), len(decoded))
    return reference[:length], decoded[:length]

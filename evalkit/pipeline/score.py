"""What a worker process does: every metric for every candidate of a job."""

import gc
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from numbers import Real
from pathlib import Path

import numpy as np

from evalkit.audio import Audio, Wave
from evalkit.cache import Cache
from evalkit.environment.contained import deadline, state_kept
from evalkit.environment.machine import default_workers
from evalkit.errors import AudioError, DeadlineError, UndefinedScore, describe, text_of
from evalkit.metrics.base import SCORE_RATE, Metric, Pair, PairMetric
from evalkit.metrics.checks import require_at_most, too_long
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric, Scorer
from evalkit.pipeline.jobs import LENGTH_TOLERANCE, Candidate, Job, RowScore, Scored, Source
from evalkit.results.pairing import align, check_pair, flat_top


def score_jobs(jobs: tuple[Job, ...]) -> Scored:
    """Every metric for every candidate of `jobs`. Runs in a worker process."""
    scored = Scored()
    pairs = [(candidate, pair) for job in jobs for candidate, pair in _pairs(job, scored)]
    for name in dict.fromkeys(name for candidate, _ in pairs for name in candidate.metrics):
        rate = load_metric(name).rate
        mine = [(candidate.key, at[rate]) for candidate, at in pairs if name in candidate.metrics]
        score = _score_function(name, [pair for _, pair in mine], jobs[0])
        for key, pair in mine:
            scored.scores.extend(_score(key, name, score, pair, jobs[0].timeout))
    return scored


def _pairs(job: Job, scored: Scored) -> Iterator[tuple[Candidate, dict[int, Pair]]]:
    """The candidates of `job` that can be read, each with its pair at every rate that its metrics take; the others get
    their reasons in `scored`."""
    rates = {load_metric(name).rate for candidate in job.candidates for name in candidate.metrics} | {SCORE_RATE}
    try:
        whole = _read(job.reference, "reference", scored, _longest(job))
        reference = {rate: whole.at(rate).wav for rate in rates}
    except AudioError as error:
        for candidate in job.candidates:
            scored.scores.extend(_unreadable(candidate, error))
        return
    if isinstance(job.reference.content, Path) and job.utterance:
        scored.references[job.utterance] = scored.files[job.reference.content]
    for candidate in job.candidates:
        try:
            audio = _read(candidate.source, "decoded audio", scored, _longest(job))
            if job.check or job.align:
                pairing = check_pair(reference[SCORE_RATE], audio.at(SCORE_RATE).wav, *flat_top(audio.wav))
                scored.pairings[candidate.key] = pairing
                if job.align and pairing.offset_ms:
                    audio = Audio(align(audio.wav, audio.sample_rate, pairing.offset_ms), audio.sample_rate)
            decoded = {rate: audio.at(rate).wav for rate in rates}
            both = {rate: _same_length(reference[rate], decoded[rate], rate) for rate in rates}
            yield candidate, {rate: Pair(*pair, job.transcript, job.language) for rate, pair in both.items()}
        except AudioError as error:
            scored.scores.extend(_unreadable(candidate, error))


def _score_function(name: str, pairs: Sequence[Pair], job: Job) -> Callable[[Pair], Mapping[str, float]]:
    """What scores each of `pairs` by the metric `name`."""
    metric = load_metric(name)

    def score(pair: Pair) -> Mapping[str, float]:
        require_at_most(pair, metric)
        if isinstance(metric, PairMetric):
            return {name: metric.score(pair)}
        assert isinstance(metric, ModelMetric)
        return _opened(metric, job).score(metric, pair)

    if isinstance(metric, ModelMetric) and (short := [pair for pair in pairs if not too_long(pair, metric)]):
        # An error comes again where it costs a row: too little memory for the batch may do for one.
        with suppress(Exception, SystemExit, DeadlineError), state_kept, deadline(job.timeout * len(short)):
            _opened(metric, job).prepare(metric, short, job.batch)
    return score


def _score(
    key: int, name: str, score: Callable[[Pair], Mapping[str, float]], pair: Pair, timeout: float
) -> list[RowScore]:
    try:
        with state_kept, deadline(timeout):
            values = score(pair)
        return [RowScore(key, row, _number(values[row])) for row in load_metric(name).rows]
    except UndefinedScore as error:
        return without_value(key, name, text_of(error))
    except DeadlineError as error:
        return without_value(key, name, str(error), settled=False)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a bug in one metric costs its own rows, and says so in them
        return without_value(key, name, describe(error), settled=False, trace=traceback.format_exc())


def _number(value: object) -> float:
    """`value` as a row holds it; raises TypeError for what is no real number, UndefinedScore for one that is not
    finite."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        shape = f" of shape {value.shape}" if isinstance(value, np.ndarray) else ""
        raise TypeError(f"the metric returned a {type(value).__name__}{shape}, not a number")
    number = float(value)
    if not isfinite(number):
        raise UndefinedScore(f"the metric returned {number}")
    return number


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
        _OPEN[which].reference_features = None if job.cache is None else Cache(job.cache)
    return _OPEN[which]


def without_value(key: int, metric: str, reason: str, settled: bool = True, trace: str | None = None) -> list[RowScore]:
    """A score without a value for every row of `metric`."""
    return [
        RowScore(key, row, None, reason or "no reason was given", settled, trace) for row in load_metric(metric).rows
    ]


def _unreadable(candidate: Candidate, error: AudioError) -> list[RowScore]:
    return [one for m in candidate.metrics for one in without_value(candidate.key, m, str(error), settled=False)]


def _longest(job: Job) -> float:
    """Seconds beyond which a recording need not be read for the metrics of `job`."""
    limits = (load_metric(name).max_seconds for candidate in job.candidates for name in candidate.metrics)
    return max([Metric.max_seconds, *limits])


def _read(source: Source, what: str, scored: Scored, longest: float) -> Audio:
    if (seconds := source.seconds()) > longest:
        raise AudioError(
            f"{what} is {seconds:.0f} s long: no metric takes more than {longest:g} s. Cut it into utterances"
        )
    audio = source.audio()
    if isinstance(source.content, Path):
        scored.files[source.content] = source.identity or audio.identity()
    if not np.isfinite(audio.wav).all():
        raise AudioError(f"{what} holds NaN or infinite samples")
    return audio


def _same_length(reference: Wave, decoded: Wave, rate: int) -> tuple[Wave, Wave]:
    if abs(len(reference) - len(decoded)) > LENGTH_TOLERANCE * rate:
        raise AudioError(
            f"lengths differ by more than {LENGTH_TOLERANCE} s: reference {len(reference) / rate:.3f} s, "
            f"decoded {len(decoded) / rate:.3f} s"
        )
    length = min(len(reference), len(decoded))
    return reference[:length], decoded[:length]

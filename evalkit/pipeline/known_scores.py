"""The cache, in terms of jobs and scores: what is known already, and what to keep."""

from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

from evalkit.audio import RESAMPLER, Audio
from evalkit.cache import Cache, content_key
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.jobs import Job, Score, Scored, Source

LENGTH_TOLERANCE = 0.25
"""Seconds by which a decoded file may differ in length from its reference; within it, the longer one is trimmed.
Codecs add up to a frame (80 ms); more means that something else than the codec made the file."""


class ScoreCache:
    """The cache, in terms of jobs and answers."""

    def __init__(self, kept: Cache) -> None:
        self._kept = kept
        self._digests: dict[Path, str] = {}
        self._waiting: dict[tuple[int, str], tuple[str, Source, Source, Job]] = {}

    def recall(self, job: Job) -> tuple[list[Score], Job | None]:
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
        answers = [Score(key, row, *found[keys[key, row]]) for key, metric in done for row in load_metric(metric).rows]
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
        rate=known.rate,
        tolerance=LENGTH_TOLERANCE,
    )

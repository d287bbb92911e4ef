"""The cache, in terms of jobs and scores: what is known already, and what to keep."""

from dataclasses import fields, replace
from hashlib import file_digest
from pathlib import Path
from stat import S_ISREG
from typing import Any

from evalkit.audio import RESAMPLER, Audio, AudioIdentity
from evalkit.cache import Cache, content_key
from evalkit.metrics.load import load_metric
from evalkit.metrics.model import ModelMetric
from evalkit.pipeline.jobs import LENGTH_TOLERANCE, Job, RowScore, Scored, Source
from evalkit.results.pairing import VERSION, Pairing

LARGEST = 2**32
"""Bytes of a file beyond which it takes too long to find out whether its scores are known."""


class ScoreCache:
    """Looks jobs up in the cache and stores their scores there."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._digests: dict[Path, str] = {}
        """sha256 of files, by path."""
        self._unknown: dict[tuple[int, str], tuple[str, Source, Source, Job]] = {}
        """Metric, reference and candidate of every row that is being computed."""
        self._unpaired: dict[int, tuple[Source, Source]] = {}
        """Reference and decoded audio of the pairs that are being checked, by key."""
        self.references: dict[str, AudioIdentity] = {}
        """What names the reference of each utterance, as far as it is known by now."""
        self.pairings: dict[int, Pairing] = {}
        """By key of the candidate."""
        self.hits = 0
        """Rows that were in the cache."""

    def look_up(self, job: Job) -> tuple[list[RowScore], Job | None]:
        """The scores that are known, and the job without them: None where nothing is left to do."""
        reference = self._identify(job.reference)
        if reference.identity is not None and job.utterance:
            self.references[job.utterance] = reference.identity
        candidates = [replace(c, source=self._identify(c.source)) for c in job.candidates]
        keys = {
            (candidate.key, row): score_key(metric, reference.pcm, candidate.source.pcm, job, row)
            for candidate in candidates
            for metric in candidate.metrics
            for row in load_metric(metric).rows
            if reference.pcm and candidate.source.pcm
        }
        found = self._cache.scores(list(keys.values()))
        done = {
            (candidate.key, metric)
            for candidate in candidates
            for metric in candidate.metrics
            if all(keys.get((candidate.key, row)) in found for row in load_metric(metric).rows)
        }
        scores = [
            RowScore(key, row, *found[keys[key, row]]) for key, metric in done for row in load_metric(metric).rows
        ]
        self.hits += len(scores)
        rest = []
        for candidate in candidates:
            metrics = tuple(m for m in candidate.metrics if (candidate.key, m) not in done)
            unpaired = job.check and not self._know_pairing(candidate.key, reference, candidate.source)
            if metrics or unpaired:
                rest.append(replace(candidate, metrics=metrics))
                for metric in metrics:
                    for row in load_metric(metric).rows:
                        self._unknown[candidate.key, row] = (metric, reference, candidate.source, job)
        return scores, replace(job, reference=reference, candidates=tuple(rest)) if rest else None

    def store(self, scored: Scored) -> None:
        """Keep the scores that another try could not change."""
        self.references |= scored.references
        self.pairings |= scored.pairings
        pairings = {}
        for key, pairing in scored.pairings.items():
            before, after = (_pcm(source, scored) for source in self._unpaired.pop(key))
            if before and after:
                pairings[_pairing_key(before, after)] = pairing.as_dict()
        self._cache.store_pairings(pairings)
        files = {self._digests[path]: one for path, one in scored.files.items() if path in self._digests}
        self._cache.store_files(files)
        scores = {}
        for score in scored.scores:
            metric, reference, decoded, job = self._unknown.pop((score.key, score.metric))
            before, after = (_pcm(source, scored) for source in (reference, decoded))
            if score.settled and before and after:
                scores[score_key(metric, before, after, job, score.metric)] = (score.value, score.reason)
        self._cache.store_scores(scores)

    def _know_pairing(self, key: int, reference: Source, decoded: Source) -> bool:
        """Whether it is in the cache how `decoded` belongs to `reference`."""
        self._unpaired[key] = (reference, decoded)
        found = self._cache.pairing(_pairing_key(reference.pcm, decoded.pcm)) if reference.pcm and decoded.pcm else None
        if found is None or found.keys() != {item.name for item in fields(Pairing)}:
            return False
        self.pairings[key] = Pairing.from_dict(found)
        return True

    def _identify(self, source: Source) -> Source:
        """`source` with what names it, where finding that takes no decoding."""
        if source.identity is not None:
            return source
        if isinstance(source.content, Audio):
            return replace(source, identity=source.content.identity())
        if not isinstance(source.content, Path):
            return source
        path = source.content
        if path not in self._digests:
            try:
                about = path.stat()
                if not S_ISREG(about.st_mode) or about.st_size > LARGEST:  # a pipe or a device would be read for ever
                    return source
                with path.open("rb") as file:
                    self._digests[path] = file_digest(file, "sha256").hexdigest()
            except (OSError, ValueError):  # the worker says what is wrong with it
                return source
        return replace(source, identity=self._cache.file(self._digests[path]))


def _pairing_key(reference: str, decoded: str) -> str:
    return content_key(pairing=VERSION, reference=reference, decoded=decoded, resampler=RESAMPLER)


def _pcm(source: Source, scored: Scored) -> str | None:
    if source.pcm or not isinstance(source.content, Path):
        return source.pcm
    identity = scored.files.get(source.content)
    return None if identity is None else identity.pcm


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
        **({"align": VERSION} if job is not None and job.align else {}),
    )

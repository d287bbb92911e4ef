"""The main path: every codec over every utterance, scored, recorded, summarized.

plan -> for each utterance: load -> encode -> decode -> score -> record -> summarize -> write
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from evalkit import provenance
from evalkit.audio import Audio, read, write
from evalkit.cache import Cache, content_key
from evalkit.codecs import Codec, CodecChoice, Codes, Rendered
from evalkit.datasets.base import Dataset, Utterance
from evalkit.errors import AudioError, CodecError, MissingError, UndefinedScore
from evalkit.executors import Workers
from evalkit.metrics.base import CodesMetric, ModelMetric
from evalkit.metrics.load import load_metric
from evalkit.score import Answer, Candidate, Job, Source, model_metrics, pair_metrics, score_all, score_models
from evalkit.store import CORPUS, REFERENCE_FOLDER, Coded, Row, RunWriter
from evalkit.suites import missing_lines

if TYPE_CHECKING:
    from evalkit.shards import Shard

Advance = Callable[[str, int], None]
"""Told what is under way and how many utterances were finished."""


@dataclass(frozen=True)
class Plan:
    """What to run: decided, checked and complete before any work starts."""

    codecs: tuple[CodecChoice, ...]
    dataset: Dataset
    metrics: tuple[str, ...]
    output: Path
    device: str = "cpu"
    seed: int = 0
    save_audio: bool = False
    overwrite: bool = False
    workers: Workers | None = None
    """Where waveforms are scored; None for processes on this machine."""
    shard: "Shard | None" = None
    """The part of the dataset that this run does; None for all of it."""

    @property
    def utterances(self) -> Sequence[Utterance]:
        everything = self.dataset.utterances
        return everything if self.shard is None else self.shard.take(everything, [u.id for u in everything])

    def check(self) -> None:
        """Raises MissingError that lists every codec and metric that cannot run here, each with its remedy."""
        problems = []
        missing = [(choice.spec, state) for choice in self.codecs if not (state := choice.state()).ready]
        if missing:
            lines = "\n".join(f"  {spec}: {state.code}. {state.remedy}" for spec, state in missing)
            problems.append(f"these codecs cannot run here yet:\n{lines}")
        problems += missing_metrics(self.metrics, self.dataset.languages)
        if problems:
            raise MissingError("\n".join(problems))
        if self.device != "cpu":
            check_device(self.device)


@dataclass(frozen=True)
class Trip:
    """One utterance on its way through one codec; `kbps` as measured, or as declared for audio that was rendered
    elsewhere, and None where encoding or decoding failed."""

    codec: str
    utterance: Utterance
    kbps: float | None = None

    def row(self, dataset: str, answer: Answer) -> Row:
        u = self.utterance
        return Row(
            self.codec, dataset, u.id, answer.metric, answer.value, answer.reason,
            self.kbps, u.language or None, u.speaker or None,
        )  # fmt: skip


def execute(plan: Plan, cache: Cache, advance: Advance) -> list[Row]:
    """Run `plan` and write its run directory; the rows are returned as well."""
    plan, notes = with_texts(plan)
    plan.check()
    seed_everything(plan.seed)
    codecs = [choice.build(plan.device) for choice in plan.codecs]
    name = plan.dataset.name
    description = provenance.describe(
        plan.metrics,
        codecs={codec.name: describe_codec(codec) for codec in codecs},
        dataset=describe_dataset(plan.dataset),
        notes=[*plan.dataset.notes, *notes],
        device=plan.device,
        seed=plan.seed,
        **({"shard": str(plan.shard)} if plan.shard else {}),
    )
    metrics, models = pair_metrics(plan.metrics), model_metrics(plan.metrics)
    later: dict[str, list[Candidate]] = {}
    heard: dict[str, Job] = {}
    trips: list[Trip] = []
    narrow: dict[str, list[int]] = {}
    with RunWriter(plan.output, [codec.name for codec in codecs], description, plan.overwrite) as writer:

        def record(answers: Iterable[Answer]) -> None:
            writer.add(trips[answer.key].row(name, answer) for answer in answers)

        def jobs() -> Iterator[Job]:
            for codec in codecs:
                for utterance in plan.utterances:
                    key = len(trips)
                    try:
                        reference, codes, decoded = encode_decode(codec, utterance, plan.device, cache)
                        if plan.save_audio:
                            folder, file = plan.output / "audio", f"{slug(utterance.id)}.wav"
                            save(folder / slug(codec.name) / file, decoded)
                            if not (original := folder / REFERENCE_FOLDER / file).exists():
                                write(original, reference)
                    except (AudioError, CodecError) as error:  # costs this utterance, not the run
                        trips.append(Trip(codec.name, utterance))
                        record(Answer(key, row, None, str(error)) for row in rows_of(plan.metrics))
                    else:
                        if is_narrow(codec, reference):
                            narrow.setdefault(codec.name, []).append(reference.sample_rate)
                        if codes is not None:
                            writer.add_codes(Coded(codec.name, name, utterance.id, reference.seconds, codes))
                        trips.append(Trip(codec.name, utterance, kbps(codec, codes, reference.seconds)))
                        source = Source(reference, reference.pcm_hash())
                        about = (utterance.transcript, utterance.language)
                        if models:
                            heard[utterance.id] = Job(Source(utterance.source, source.pcm), (), *about, plan.device)
                            later.setdefault(utterance.id, []).append(Candidate(key, shelf.keep(decoded), models))
                        if metrics:
                            yield Job(source, (Candidate(key, decoded, metrics),), *about)
                    advance(codec.name, 1)

        with Shelf() as shelf:
            for answers in score_all(jobs(), cache, plan.workers):
                record(answers)
            waiting = [replace(job, candidates=tuple(later[u])) for u, job in heard.items()]
            total = sum(len(job.candidates) for job in waiting) * len(rows_of(models))
            done = 0
            for answers in score_models(waiting, cache):
                record(answers)
                done += len(answers)
                advance(f"{answers[0].metric}, {done} of {total} rows of models", 0)
        writer.add(pooled_rows(plan.metrics, [codec.name for codec in codecs], name, writer.rows))
        writer.add(corpus_rows(plan.metrics, [codec.name for codec in codecs], name, writer.coded))
        writer.provenance["notes"] += narrow_notes(codecs, narrow, len(plan.utterances))
        return writer.rows


def with_texts(plan: Plan) -> tuple[Plan, list[str]]:
    """`plan` with each metric that needs a transcript replaced by the one that needs none, where the dataset has no
    transcripts at all; and a note that says so. Where some have one, those without are rows without a value."""
    notes = []
    metrics = list(plan.metrics)
    if all(utterance.transcript is None for utterance in plan.dataset):
        for position, name in enumerate(metrics):
            other = getattr(load_metric(name), "without_text", None)
            if other is not None:
                metrics[position] = other
                notes.append(f"{plan.dataset.name} has no transcripts: {other} was measured in place of {name}.")
    return replace(plan, metrics=tuple(dict.fromkeys(metrics))), notes


class Shelf:
    """Decoded audio that waits for the models, on disk: what is not in a file yet goes to a folder that is removed in
    the end. Used in a `with` statement."""

    def __enter__(self) -> "Shelf":
        self._folder = TemporaryDirectory(prefix="evalkit-")
        self._count = 0
        return self

    def keep(self, decoded: Source) -> Source:
        """The same audio, in a file."""
        if isinstance(decoded.content, Path):
            return decoded
        self._count += 1
        path = Path(self._folder.name) / f"{self._count}.wav"
        save(path, decoded)
        return Source(path, decoded.pcm)

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()


def missing_metrics(metrics: Sequence[str], languages: Sequence[str]) -> list[str]:
    """A message where some of `metrics` cannot score `languages` here, with all that they lack; else nothing."""
    states = {name: load_metric(name).state(languages) for name in metrics}
    lacking = {name: state for name, state in states.items() if not state.ready}
    if not lacking:
        return []
    known = {name: load_metric(name) for name in lacking}
    fetched = " ".join(
        name.partition(":")[0] for name, m in known.items() if isinstance(m, ModelMetric) and m.missing(languages)
    )
    hint = f"All of it: evalkit fetch {fetched}. " if len(lacking) > 1 and fetched else ""
    hint += "What can run now: add `available` to --metrics."
    return [f"these metrics cannot run here yet:\n{missing_lines(lacking)}\n{hint}"]


def rows_of(metrics: Sequence[str]) -> list[str]:
    """Names of the rows that `metrics` give for one utterance."""
    scored = (*pair_metrics(metrics), *model_metrics(metrics))
    return [row for name in scored for row in load_metric(name).rows]


def pooled_rows(metrics: Sequence[str], codecs: Sequence[str], dataset: str, rows: Sequence[Row]) -> Iterator[Row]:
    """Rows about a whole dataset that are made from those of its utterances, such as the corpus CER."""
    for name in model_metrics(metrics):
        metric = load_metric(name)
        pooled = getattr(metric, "pooled", None)
        if pooled is None:
            continue
        for codec in codecs:
            found: dict[str, dict[str, float]] = {}
            for row in rows:
                one_of_it = row.codec == codec and row.utterance != CORPUS and row.metric in metric.rows
                if one_of_it and row.value is not None:
                    found.setdefault(row.utterance, {})[row.metric] = row.value
            whole = [found[u] for u in sorted(found) if len(found[u]) == len(metric.rows)]
            for row_name, value in pooled(whole).items():
                yield Row(codec, dataset, CORPUS, row_name, value)


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


def is_narrow(codec: Codec | Rendered, reference: Audio) -> bool:
    """Whether `codec` has codebooks, so that it was trained for its whole band, and `reference` lacks a part of it."""
    return not isinstance(codec, Rendered) and bool(
        codec.codebook_sizes and codec.sample_rate and reference.sample_rate < codec.sample_rate
    )


def narrow_notes(codecs: Iterable[Codec | Rendered], narrow: Mapping[str, Sequence[int]], n: int) -> Iterator[str]:
    """A sentence for each codec that was given less than its band."""
    for codec in codecs:
        if not isinstance(codec, Rendered) and codec.sample_rate and (rates := narrow.get(codec.name)):
            found = " and ".join(f"{rate / 1000:g}" for rate in sorted(set(rates)))
            yield (
                f"{codec.name} works at {codec.sample_rate / 1000:g} kHz, but {len(rates)} of {n} utterances are at "
                f"{found} kHz: it was given nothing above {max(rates) / 2000:g} kHz there."
            )


def encode_decode(
    codec: Codec | Rendered, utterance: Utterance, device: str, cache: Cache
) -> tuple[Audio, Codes | None, Source]:
    """The reference as it was read, its codes, and what the codec made of it at the codec's own rate: from the cache
    where this codec has met these samples before; without codes where it was rendered elsewhere.

    Raises AudioError for a file, CodecError for the codec.
    """
    reference = utterance.audio()
    if isinstance(codec, Rendered):
        return reference, None, Source(codec.file(utterance.id))
    key = content_key(codec=codec.name, **describe_codec(codec), device=device, reference=reference.pcm_hash())
    kept = cache.decoded(key)
    if kept is not None:
        return reference, kept.codes, Source(kept.path, kept.pcm)
    source = reference.at(codec.sample_rate)
    try:
        codes = codec.encode(source.wav)
        decoded = Audio(codec.decode(codes), source.sample_rate)
    except Exception as error:  # somebody else's code: whatever it raises
        raise CodecError(f"{codec.name} failed: {type(error).__name__}: {error}") from error
    cache.keep_decoded(key, codes, decoded)
    return reference, codes, Source(decoded, decoded.pcm_hash())


def kbps(codec: Codec | Rendered, codes: Codes | None, seconds: float) -> float | None:
    """Measured from `codes`, or declared where there are none; None where nobody declared it."""
    if codes is not None:
        return codes.bits / seconds / 1000
    bitrate = codec.bitrate if isinstance(codec, Rendered) else None
    return None if bitrate is None else bitrate / 1000


def corpus_rows(metrics: Sequence[str], codecs: Sequence[str], dataset: str, coded: Sequence[Coded]) -> Iterator[Row]:
    """Rows of the metrics that look at all codes of a codec at once; the order of `coded` does not matter."""
    for codec in codecs:
        mine = sorted((one for one in coded if one.codec == codec), key=lambda one: one.utterance)
        seconds = fsum(one.seconds for one in mine)
        for name in metrics:
            metric = load_metric(name)
            if isinstance(metric, CodesMetric):
                try:
                    values: dict[str, float | None] = dict(metric.score([one.codes for one in mine], seconds))
                    reason = None
                except UndefinedScore as error:
                    values, reason = {name: None}, str(error)
                for row_name, value in values.items():
                    yield Row(codec, dataset, CORPUS, row_name, value, reason)


def describe_codec(codec: Codec | Rendered) -> dict[str, object]:
    """What determines a codec's output, for the provenance and the cache."""
    if isinstance(codec, Rendered):
        return {"rendered": str(codec.folder), "declared_bitrate": codec.bitrate}
    return {
        "sample_rate": codec.sample_rate,
        "frame_rate": codec.frame_rate,
        "codebook_sizes": list(codec.codebook_sizes),
        "streaming": codec.streaming,
        "details": dict(codec.details),
    }


def save(path: Path, decoded: Source) -> None:
    """Write decoded audio where a person finds it."""
    content = decoded.content
    write(path, read(content) if isinstance(content, Path) else content if isinstance(content, Audio) else content())


def check_device(device: str) -> None:
    """Raises MissingError where torch cannot compute on `device`."""
    import torch

    try:
        torch.zeros(1, device=device)
    except Exception as error:  # each backend has an exception of its own
        reason = str(error).splitlines()[0]
        raise MissingError(f"--device {device} cannot be used here: {reason}. Use --device cpu.") from error


def seed_everything(seed: int) -> None:
    """Seed numpy and, where it is loaded, torch."""
    import sys

    import numpy as np

    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def slug(name: str) -> str:
    """`name` as a file name."""
    return "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)

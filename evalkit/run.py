"""The main path: every codec over every utterance, scored, recorded, summarized.

plan -> for each utterance: load -> encode -> decode -> score -> record -> summarize -> write
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit import plugins, provenance
from evalkit.audio import Audio, read, write
from evalkit.cache import Cache, content_key
from evalkit.codecs import Codec, CodecChoice, Codes, Rendered
from evalkit.datasets.base import Dataset, Utterance
from evalkit.errors import AudioError, CodecError, MissingError, UndefinedScore
from evalkit.metrics.base import CodesMetric
from evalkit.score import Answer, Candidate, Job, Source, pair_metrics, score_all
from evalkit.store import CORPUS, Coded, Row, RunWriter

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
    workers: int | None = None
    shard: "Shard | None" = None
    """The part of the dataset that this run does; None for all of it."""

    @property
    def utterances(self) -> Sequence[Utterance]:
        everything = self.dataset.utterances
        return everything if self.shard is None else self.shard.take(everything, [u.id for u in everything])

    def check(self) -> None:
        """Raises MissingError that lists every codec that cannot run here, each with its remedy."""
        missing = [(choice.spec, state) for choice in self.codecs if not (state := choice.state()).ready]
        if missing:
            lines = "\n".join(f"  {spec}: {state.code}. {state.remedy}" for spec, state in missing)
            raise MissingError(f"these codecs cannot run here yet:\n{lines}")
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
    plan.check()
    seed_everything(plan.seed)
    codecs = [choice.build(plan.device) for choice in plan.codecs]
    name = plan.dataset.name
    description = provenance.describe(
        plan.metrics,
        codecs={codec.name: describe_codec(codec) for codec in codecs},
        dataset=describe_dataset(plan.dataset),
        notes=list(plan.dataset.notes),
        device=plan.device,
        seed=plan.seed,
        **({"shard": str(plan.shard)} if plan.shard else {}),
    )
    metrics = pair_metrics(plan.metrics)
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
                            save(plan.output / "audio" / slug(codec.name) / f"{slug(utterance.id)}.wav", decoded)
                    except (AudioError, CodecError) as error:  # costs this utterance, not the run
                        trips.append(Trip(codec.name, utterance))
                        record(Answer(key, metric, None, str(error)) for metric in metrics)
                    else:
                        if is_narrow(codec, reference):
                            narrow.setdefault(codec.name, []).append(reference.sample_rate)
                        if codes is not None:
                            writer.add_codes(Coded(codec.name, name, utterance.id, reference.seconds, codes))
                        trips.append(Trip(codec.name, utterance, kbps(codec, codes, reference.seconds)))
                        source = Source(reference, reference.pcm_hash())
                        yield Job(source, (Candidate(key, decoded, metrics),), utterance.transcript, utterance.language)
                    advance(codec.name, 1)

        for answers in score_all(jobs(), cache, plan.workers):
            record(answers)
        writer.add(corpus_rows(plan.metrics, [codec.name for codec in codecs], name, writer.coded))
        writer.provenance["notes"] += narrow_notes(codecs, narrow, len(plan.utterances))
        return writer.rows


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
            metric = plugins.load("metric", name)
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
    write(path, read(decoded.content) if isinstance(decoded.content, Path) else decoded.content)


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

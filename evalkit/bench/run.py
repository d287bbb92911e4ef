"""One bench from end to end: count, measure latency, time, stream, and start afresh, for every codec.

What is wrong with one codec costs its rows, which then have a reason, and not the bench.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from evalkit import interrupt, testing
from evalkit.audio import Wave
from evalkit.bench import counting, energy, latency, machine, streams
from evalkit.bench.contenders import Contender
from evalkit.bench.directory import LEVELS, MACHINE, WHOLE, BenchWriter, Kind, Measurement, Stage, setting
from evalkit.bench.fresh import fresh
from evalkit.bench.timing import CALIBRATION, DRIFT, Job, Sample, drift, rounds
from evalkit.codecs import Codec, Codes, DeclaresLookahead, Inspectable, StreamDecodable, StreamEncodable
from evalkit.environment.machine import check_device
from evalkit.errors import CodecError, UsageError

PARTS = ("count", "latency", "time", "stream", "memory")
"""What a bench measures, in this order."""
_STAGES: tuple[Stage, ...] = ("encode", "decode")
ANY_RATE = 16_000
"""Hz at which codecs are timed that take any rate."""

Say = Callable[[str], None]
"""Told what is under way."""


@dataclass(frozen=True)
class BenchPlan:
    """What to bench."""

    contenders: Sequence[Contender]
    output: Path
    device: str = "cpu"
    threads: int = 1
    seconds: float = 10.0
    rounds: int = 9
    batches: Sequence[int] = (1,)
    parts: Sequence[str] = PARTS
    overwrite: bool = False


@dataclass
class Subject:
    """A codec that is being measured."""

    contender: Contender
    codec: Codec
    wav: Wave = field(repr=False)
    codes: Codes | None = None
    """Of `wav`; None where the codec failed on it."""
    failure: str = ""
    frame: int | None = None

    @property
    def name(self) -> str:
        """As in rows and tables."""
        return self.contender.choice.label or self.codec.name

    @property
    def rate(self) -> int:
        return self.codec.sample_rate or ANY_RATE

    @property
    def seconds(self) -> float:
        return len(self.wav) / self.rate

    def row(
        self, stage: Stage, quantity: str, value: float | None, kind: Kind = "measured", reason: str = "", **more: Any
    ) -> Measurement:
        """A number of this codec, or the reason why there is none."""
        reason = "" if value is not None else reason or "unknown"
        weights = self.contender.weights
        return Measurement(self.name, stage, quantity, value, kind, reason or None, weights=weights, **more)


def execute(plan: BenchPlan, say: Say = lambda text: None) -> BenchWriter:
    """Run `plan` and write its bench directory."""
    check_device(plan.device)
    if unknown := [part for part in plan.parts if part not in PARTS]:
        raise UsageError(f"unknown part(s) of a bench: {', '.join(unknown)}. There are: {', '.join(PARTS)}.")
    machine.use_threads(plan.threads)
    subjects = [prepare(one, plan.device, plan.seconds, say) for one in plan.contenders]
    about = describe(plan.device, plan.threads, subjects, seconds=plan.seconds, rounds=plan.rounds)
    with BenchWriter(plan.output, about, plan.overwrite) as writer:
        add_notes(writer, subjects)
        for part in (part for part in PARTS if part in plan.parts):
            for rows in _STEPS[part](plan, subjects, writer, say):
                interrupt.check()
                writer.add(rows)
        writer.provenance["load_after"] = machine.load()
    return writer


def prepare(contender: Contender, device: str, seconds: float, say: Say = lambda text: None) -> Subject:
    """The codec, and whole frames of speech that it has coded once."""
    say(f"{contender.spec}: {'drawing weights' if contender.random else 'loading'}")
    codec = contender.build(device)
    rate = codec.sample_rate or ANY_RATE
    samples = (
        round(round(seconds * codec.frame_rate) * rate / codec.frame_rate)
        if codec.frame_rate
        else round(seconds * rate)
    )
    subject = Subject(contender, codec, testing.speech((samples + 1) / rate, rate)[:samples])
    try:
        codes = codec.encode(subject.wav)
        codec.decode(codes)
        subject.codes = codes
    except Exception as error:  # somebody else's code: whatever it raises
        subject.failure = f"{type(error).__name__}: {error}"
    if codec.frame_rate:
        subject.frame = round(rate / codec.frame_rate)
    return subject


def describe(device: str, threads: int, subjects: Sequence[Subject], **more: Any) -> dict[str, Any]:
    """The provenance of a bench of `subjects`."""
    codecs = {
        one.name: {
            "spec": one.contender.spec,
            "weights": one.contender.weights,
            "sample_rate": one.codec.sample_rate,
            "frame_rate": one.codec.frame_rate,
            "codebook_sizes": list(one.codec.codebook_sizes),
            "causal": one.codec.streaming,
            "details": dict(one.codec.details),
        }
        for one in subjects
    }
    return machine.describe(device, threads, codecs, **more)


def add_notes(writer: BenchWriter, subjects: Sequence[Subject]) -> None:
    """What a reader of any bench has to know."""
    if busy := machine.busy(writer.provenance):
        writer.note(busy)
    if any(one.contender.random for one in subjects):
        writer.note(
            "Random weights: parameters, operations, times and memory do not depend on weights; start-up includes "
            "drawing them, and lookahead at 0.1 % and 1 % of the peak is theirs alone."
        )


def _count(plan: BenchPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say) -> Iterator[list[Measurement]]:
    for one in subjects:
        say(f"{one.name}: counting")
        yield list(count_rows(one))


def count_rows(one: Subject) -> Iterator[Measurement]:
    """Parameters and multiply-accumulates."""
    stages: tuple[Stage, ...] = (*_STAGES, "both")
    try:
        found = counting.count(one.codec)
    except counting.CountError as error:
        for stage in stages:
            yield one.row(stage, "parameters", None, "counted", str(error))
        for stage in _STAGES:
            yield one.row(stage, "gmac", None, "counted", str(error))
        return
    used = ((found.encode,), (found.decode,), (found.encode, found.decode))
    for stage, ways in zip(stages, used, strict=True):
        yield one.row(stage, "parameters", found.parameters(*ways), "counted")
    for stage, way in zip(_STAGES, (found.encode, found.decode), strict=True):
        yield one.row(stage, "gmac", way.gmac, "counted")


def _latency(
    plan: BenchPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say
) -> Iterator[list[Measurement]]:
    for one in subjects:
        say(f"{one.name}: latency")
        yield list(latency_rows(one, measure_latency(one)))


def measure_latency(one: Subject, encoder: bool = True) -> latency.Latency | str:
    """What was measured, or the reason why nothing was."""
    if one.failure:
        return one.failure
    try:
        return latency.measure(one.codec, encoder)
    except latency.NoFrames as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def latency_rows(one: Subject, found: latency.Latency | str) -> Iterator[Measurement]:
    """Lookahead and reach into the past each way, the frame, and the algorithmic latency, at every level."""
    if isinstance(found, str):
        for quantity in ("frame", "latency"):
            yield one.row("both", quantity, None, reason=found)
        return
    yield one.row("both", "frame", found.frame)
    if isinstance(one.codec, DeclaresLookahead):
        for stage, samples in zip(_STAGES, one.codec.lookahead, strict=True):
            value = samples if isfinite(samples) else None
            yield one.row(stage, "lookahead", value, "declared", WHOLE, setting=setting(level="0"))
    for level in LEVELS:
        where = setting(level=level)
        ways: tuple[tuple[Stage, latency.Reach], ...] = (
            ("encode", found.encoder[level]), ("decode", found.decoder[level])
        )  # fmt: skip
        for stage, reach in ways:
            yield one.row(stage, "lookahead", reach.ahead, reason=reach.why_ahead, setting=where)
            yield one.row(stage, "reach", reach.back, reason=reach.why_back, setting=where)
        why = "; ".join(dict.fromkeys(f"{stage}: {reach.why_ahead}" for stage, reach in ways if reach.why_ahead))
        yield one.row("both", "latency", found.algorithmic(level), reason=why, setting=where)


def _time(plan: BenchPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say) -> Iterator[list[Measurement]]:
    jobs: dict[str, Job] = {}
    known: dict[str, tuple[Subject, Stage, int]] = {}
    for one in subjects:
        for stage, batch, job in _jobs(one, plan):
            if reason := job if isinstance(job, str) else _trial(job):
                yield [one.row(stage, "rtf", None, reason=reason, batch=batch)]
            elif not isinstance(job, str):
                name = f"{one.name} {stage} {batch}"
                jobs[name], known[name] = job, (one, stage, batch)
    meter, counter = energy.meter(plan.device)
    if meter is None:
        for one, stage, batch in known.values():
            yield [one.row(stage, "energy", None, reason=counter, batch=batch)]
    else:
        writer.note(f"Energy: {counter}.")
    calibrations = []
    for number, taken in enumerate(rounds(jobs, plan.rounds, meter), 1):
        say(f"round {number} of {plan.rounds}")
        calibrations.append(taken[CALIBRATION].wall)
        yield [
            Measurement(MACHINE, "both", "calibration", taken[CALIBRATION].wall, "measured", round=number),
            *(row for name, about in known.items() for row in _sample_rows(*about, taken[name], number)),
        ]
    if calibrations and (spread := drift(calibrations)) > DRIFT:
        writer.note(
            f"The machine's speed moved by {spread:.0%} while codecs were timed (calibration kernel): trust ratios and "
            "CPU seconds, not times."
        )


def _trial(job: Job) -> str:
    """Why `job` cannot be timed; "" where it can. A batch may need more memory than there is."""
    try:
        job()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _sample_rows(one: Subject, stage: Stage, batch: int, taken: Sample, number: int) -> Iterator[Measurement]:
    audio = one.seconds * batch
    found = {"rtf": taken.wall, "cpu": taken.cpu, "energy": taken.joules}
    for quantity, value in found.items():
        if value is not None:
            yield one.row(stage, quantity, value / audio, batch=batch, round=number)


def _jobs(one: Subject, plan: BenchPlan) -> Iterator[tuple[Stage, int, Job | str]]:
    """What is timed of a codec, or the reason why it is not: through its protocol one utterance at a time, and batches
    through its network."""
    codec, wav, codes = one.codec, one.wav, one.codes
    for batch in plan.batches:
        if codes is None:
            yield from ((stage, batch, one.failure) for stage in _STAGES)
        elif batch == 1:
            yield "encode", 1, partial(codec.encode, wav)
            yield "decode", 1, partial(codec.decode, codes)
        else:
            network = codec.network() if isinstance(codec, Inspectable) else None
            if network is None or not network.batched or codes.indices is None:
                yield from ((stage, batch, "it takes one utterance at a time") for stage in _STAGES)
            else:
                for stage, given in zip(_STAGES, (wav, codes.indices), strict=True):
                    yield stage, batch, _batch(getattr(network, stage), given, batch, plan.device)


def _batch(way: Callable[[Any], Any], given: Any, batch: int, device: str) -> Job:
    import torch

    tensor = torch.from_numpy(np.stack([given] * batch)).to(device)

    @torch.inference_mode()
    def run() -> None:
        way(tensor).cpu()  # which waits for a GPU

    return run


def _stream(plan: BenchPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say) -> Iterator[list[Measurement]]:
    jobs: dict[tuple[str, Stage], tuple[Subject, Callable[[], streams.Packets]]] = {}
    for one in subjects:
        codec, name = one.codec, one.name
        why = one.failure or "it does not stream here"
        frame_ms = 1000 * one.frame / one.rate if one.frame else 0.0
        if one.frame and one.codes and isinstance(codec, StreamEncodable):
            jobs[name, "encode"] = one, partial(streams.encoding, codec, one.wav, one.frame, frame_ms)
        else:
            yield [one.row("encode", "first-packet", None, reason=why)]
        if one.frame and one.codes and isinstance(codec, StreamDecodable):
            jobs[name, "decode"] = one, partial(streams.decoding, codec, one.codes, frame_ms)
        else:
            yield [one.row("decode", "first-packet", None, reason=why)]
    for number in range(plan.rounds + 1):  # the first warms up
        say(f"streaming, round {number} of {plan.rounds}" if number else "streaming, to warm up")
        for name, stage in list(jobs)[:: -1 if number % 2 else 1]:
            one, job = jobs[name, stage]
            try:
                found = job()
            except Exception as error:
                yield [one.row(stage, "first-packet", None, reason=f"{type(error).__name__}: {error}")]
                del jobs[name, stage]
                continue
            if number:
                named = {
                    "first-packet": found.first, "packet": found.median, "packet-p95": found.p95,
                    "deadline-misses": found.misses,
                }  # fmt: skip
                yield [one.row(stage, quantity, value, round=number) for quantity, value in named.items()]


def _memory(plan: BenchPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say) -> Iterator[list[Measurement]]:
    for one in subjects:
        say(f"{one.name}: start-up and memory")
        try:
            found = fresh(one.contender, plan.device, plan.threads, plan.seconds)
        except CodecError as error:
            yield [one.row("both", "startup", None, reason=str(error))]
            continue
        yield [
            one.row("both", "startup", found.startup),
            one.row("both", "memory-loaded", found.loaded),
            one.row("encode", "memory", found.encode),
            one.row("decode", "memory", found.decode),
            one.row("encode", "first-call", found.first_encode),
            one.row("decode", "first-call", found.first_decode),
        ]


_STEPS: dict[str, Callable[[BenchPlan, Sequence[Subject], BenchWriter, Say], Iterator[list[Measurement]]]] = {
    "count": _count,
    "latency": _latency,
    "time": _time,
    "stream": _stream,
    "memory": _memory,
}

"""One bench from end to end: count, measure latency, time, stream, and start afresh, for every codec.

What is wrong with one codec costs its rows, which then have a reason, and not the bench.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evalkit import interrupt
from evalkit.bench import energy, machine, streams
from evalkit.bench.contenders import Contender
from evalkit.bench.directory import MACHINE, BenchWriter, Measurement, Stage
from evalkit.bench.fresh import fresh
from evalkit.bench.subjects import (
    STAGES,
    Say,
    Subject,
    add_notes,
    count_rows,
    describe,
    latency_rows,
    measure_latency,
    prepare,
)
from evalkit.bench.timing import CALIBRATION, DRIFT, Job, Sample, drift, rounds
from evalkit.codecs import Inspectable, StreamDecodable, StreamEncodable
from evalkit.environment.machine import check_device
from evalkit.errors import CodecError, UsageError

PARTS = ("count", "latency", "time", "stream", "memory")
"""What a bench measures, in this order."""


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


def execute(plan: BenchPlan, say: Say = lambda text: None) -> BenchWriter:
    """Run a plan and write its bench directory.

    Args:
        plan: What to do.
        say: Is told what is under way.

    Returns:
        The writer, with all rows.

    Raises:
        UsageError: The plan names a part that there is not, or a directory that cannot be written.
        MissingError: A codec is not here.
    """
    check_device(plan.device)
    if unknown := [part for part in plan.parts if part not in PARTS]:
        raise UsageError(f"unknown measurement(s): {', '.join(unknown)}. There are: {', '.join(PARTS)}.")
    before = machine.load()  # opening codecs is load, too
    with machine.use_threads(plan.threads):
        subjects = [prepare(one, plan.device, plan.seconds, say) for one in plan.contenders]
        about = describe(plan.device, plan.threads, subjects, load=before, seconds=plan.seconds, rounds=plan.rounds)
        with BenchWriter(plan.output, about, plan.overwrite) as writer:
            add_notes(writer, subjects, timed=bool({"time", "stream"} & set(plan.parts)))
            for part in (part for part in PARTS if part in plan.parts):
                for rows in _STEPS[part](plan, subjects, writer, say):
                    interrupt.check()
                    writer.add(rows)
            writer.provenance["load_after"] = machine.load()
        return writer


def _count(plan: BenchPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say) -> Iterator[list[Measurement]]:
    for one in subjects:
        say(f"{one.name}: counting")
        yield list(count_rows(one))


def _latency(
    plan: BenchPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say
) -> Iterator[list[Measurement]]:
    for one in subjects:
        yield list(latency_rows(one, measure_latency(one, say)))


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
            f"The machine's speed varied by {spread:.0%} while codecs were timed (calibration kernel): trust ratios "
            "and CPU seconds, not times."
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
            yield from ((stage, batch, one.failure) for stage in STAGES)
        elif batch == 1:
            yield "encode", 1, partial(codec.encode, wav)
            yield "decode", 1, partial(codec.decode, codes)
        else:
            network = codec.network() if isinstance(codec, Inspectable) else None
            if network is None or not network.batched or codes.indices is None:
                yield from ((stage, batch, "it takes one utterance at a time") for stage in STAGES)
            else:
                for stage, given in zip(STAGES, (wav, codes.indices), strict=True):
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
        say(f"streaming, round {number} of {plan.rounds}" if number else "streaming, warm-up")
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

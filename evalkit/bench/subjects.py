"""A codec that is being measured, and the rows about it that every bench has: counts and latency."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from evalkit import testing
from evalkit.audio import Wave
from evalkit.bench import counting, latency, machine
from evalkit.bench.contenders import Contender
from evalkit.bench.directory import LEVELS, WHOLE, BenchWriter, Kind, Measurement, Stage, setting
from evalkit.codecs import Codec, Codes, DeclaresLookahead

STAGES: tuple[Stage, ...] = ("encode", "decode")
ANY_RATE = 16_000
"""Hz at which codecs are timed that take any rate."""

Say = Callable[[str], None]
"""Told what is under way."""


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
        """Hz at which it is measured."""
        return self.codec.sample_rate or ANY_RATE

    @property
    def seconds(self) -> float:
        """Of the audio that it is measured on."""
        return len(self.wav) / self.rate

    def row(
        self, stage: Stage, quantity: str, value: float | None, kind: Kind = "measured", reason: str = "", **more: Any
    ) -> Measurement:
        """A number of this codec, or the reason why there is none.

        Args:
            stage: Which way through it.
            quantity: A key of QUANTITIES.
            value: In the quantity's unit; None where there is none.
            kind: How the number came about.
            reason: Why there is none.
            **more: Further fields of Measurement.

        Returns:
            The row.
        """
        reason = "" if value is not None else reason or "unknown"
        weights = self.contender.weights
        return Measurement(self.name, stage, quantity, value, kind, reason or None, weights=weights, **more)


def prepare(contender: Contender, device: str, seconds: float, say: Say = lambda text: None) -> Subject:
    """Open a codec and let it code speech once.

    Args:
        contender: The codec and its weights.
        device: A device of torch.
        seconds: Of speech, in whole frames.
        say: Is told what is under way.

    Returns:
        What is measured; with `failure` where it failed on the speech.

    Raises:
        MissingError: The codec is not here.
    """
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
    """The provenance of a bench.

    Args:
        device: A device of torch.
        threads: Of torch.
        subjects: What is measured.
        **more: Further keys.

    Returns:
        JSON values.
    """
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


def add_notes(writer: BenchWriter, subjects: Sequence[Subject], timed: bool = True) -> None:
    """Note what a reader of any bench has to know.

    Args:
        writer: Of the bench.
        subjects: What is measured.
        timed: Whether anything is timed, which other load disturbs.
    """
    if timed and (busy := machine.busy(writer.provenance)):
        writer.note(busy)
    if any(one.contender.random for one in subjects):
        writer.note(
            "Random weights: parameters, operations, times and memory do not depend on weights; start-up includes "
            "drawing them, and lookahead at 0.1 % and 1 % of the peak holds for them only."
        )


def count_rows(one: Subject) -> Iterator[Measurement]:
    """Parameters and multiply-accumulates."""
    stages: tuple[Stage, ...] = (*STAGES, "both")
    try:
        found = counting.count(one.codec)
    except counting.CountError as error:
        for stage in stages:
            yield one.row(stage, "parameters", None, "counted", str(error))
        for stage in STAGES:
            yield one.row(stage, "gmac", None, "counted", str(error))
        return
    used = ((found.encode,), (found.decode,), (found.encode, found.decode))
    for stage, ways in zip(stages, used, strict=True):
        yield one.row(stage, "parameters", found.parameters(*ways), "counted")
    for stage, way in zip(STAGES, (found.encode, found.decode), strict=True):
        yield one.row(stage, "gmac", way.gmac, "counted")


def measure_latency(one: Subject, say: Say, encoder: bool = True) -> latency.Latency | str:
    """The latency of a codec, or the reason why there is none.

    Args:
        one: The codec.
        say: Is told what is under way.
        encoder: Whether the encoder is measured as well.

    Returns:
        What was measured, or a sentence.
    """
    if one.failure:
        return one.failure
    try:
        return latency.measure(one.codec, encoder, say=lambda way: say(f"{one.name}: latency of the {way}"))
    except latency.NoFrames as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def latency_rows(one: Subject, found: latency.Latency | str) -> Iterator[Measurement]:
    """Lookahead and reach into the past each way, the frame, and the algorithmic latency, at every level.

    Args:
        one: The codec.
        found: What was measured of it, or the reason why nothing was.

    Yields:
        Rows in samples, and the latency in ms.
    """
    if isinstance(found, str):
        for quantity in ("frame", "latency"):
            yield one.row("both", quantity, None, reason=found)
        return
    yield one.row("both", "frame", found.frame)
    if isinstance(one.codec, DeclaresLookahead):
        for stage, samples in zip(STAGES, one.codec.lookahead, strict=True):
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

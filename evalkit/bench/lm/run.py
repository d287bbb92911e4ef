"""One bench of a speech LM from end to end: what each codec costs it, simulated here, computed for other machines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any

from evalkit import interrupt
from evalkit.bench import latency, machine
from evalkit.bench.contenders import Contender
from evalkit.bench.directory import WHOLE, BenchWriter, Measurement, Stage, setting
from evalkit.bench.lm import roofline
from evalkit.bench.lm.config import CACHES, HEADS, Cache, Heads, LanguageModel, Speech, TokenSpec
from evalkit.bench.lm.simulate import ChunkedDecoder, Generated, build
from evalkit.bench.subjects import Say, Subject, add_notes, count_rows, describe, latency_rows, measure_latency, prepare
from evalkit.codecs import Residual
from evalkit.environment.machine import check_device
from evalkit.errors import UsageError

LOOKAHEADS = {"exact": "0", "1%": "1%"}
"""What of a decoder's lookahead a stream waits for, and at which level it was measured."""
SCALED = (256, 4)
"""Width and layers of the LM on a processor, where the full one would take minutes an utterance."""
PREPARED = 1.0
"""Seconds of speech that each codec codes before anything is measured."""


@dataclass(frozen=True)
class LmPlan:
    """What to bench. `scale` is width and layers, None for the full size."""

    contenders: Sequence[Contender]
    output: Path
    lm: LanguageModel
    device: str = "cpu"
    threads: int = 1
    rounds: int = 9
    speech: Speech = field(default_factory=Speech)
    caches: Sequence[Cache] = ("full", "upstream")
    heads: Heads | None = None
    """None for those of `lm`, or `delay` where it predicts codebooks in parallel that depend on one another."""
    first: Sequence[int] = (1, 4)
    lookahead: Sequence[str] = ("exact", "1%")
    hardware: Sequence[str] = ()
    scale: tuple[int, int] | None = SCALED
    overwrite: bool = False

    def check(self) -> None:
        """Raises UsageError for words that mean nothing."""
        for what, given, known in (
            ("--cache", self.caches, CACHES), ("--heads", [self.heads or "parallel"], HEADS),
            ("--lookahead", self.lookahead, tuple(LOOKAHEADS)),
        ):  # fmt: skip
            if unknown := [word for word in given if word not in known]:
                raise UsageError(f"{what} {', '.join(unknown)}: choose from {', '.join(known)}")


@dataclass
class LmCodec:
    """A codec that an LM drives."""

    subject: Subject
    spec: TokenSpec
    decoder: ChunkedDecoder
    ahead: Mapping[str, int | None]
    """Frames to wait for, by `--lookahead`; None where that is all of them."""
    heads: Heads
    """How its codebooks are predicted."""


def execute(plan: LmPlan, say: Say = lambda text: None) -> BenchWriter:
    """Run a plan and write its bench directory.

    Args:
        plan: What to do.
        say: Is told what is under way.

    Returns:
        The writer, with all rows.

    Raises:
        UsageError: The plan makes no sense.
        MissingError: A codec is not here.
    """
    plan.check()
    check_device(plan.device)
    before = machine.load()
    with machine.use_threads(plan.threads):
        machines = roofline.hardware(list(plan.hardware))
        subjects = [prepare(one, plan.device, PREPARED, say) for one in plan.contenders]
        small = plan.lm if plan.scale is None else plan.lm.scaled(*plan.scale)
        speech = plan.speech
        about = describe(
            plan.device, plan.threads, subjects, load=before, rounds=plan.rounds, lm=plan.lm.name, simulated=small.name,
            lm_source=plan.lm.source, lm_note=plan.lm.note, seconds=speech.seconds, context=speech.context,
            text=speech.text, guidance=speech.guidance, hardware=[vars(one) for one in machines],
        )  # fmt: skip
        with BenchWriter(plan.output, about, plan.overwrite) as writer:
            add_notes(writer, subjects)
            codecs = list(_codecs(plan, subjects, writer, say))
            for one in machines:
                lm = small if one.name == roofline.HERE else plan.lm
                for codec in codecs:
                    writer.add(_analytic(plan, lm, one, codec))
            for rows in _simulated(plan, small, codecs, say):
                interrupt.check()
                writer.add(rows)
            writer.note(
                f"{plan.lm.name}: a transformer of its published size with random weights, not the model itself: "
                f"{speech.seconds:g} s of speech after {speech.context:g} s of context, {speech.text} text tokens"
                f"{', classifier-free guidance' if speech.batch == 2 else ''}, batch 1."
                + (f" Simulated at a reduced size: width {small.width}, {small.layers} layers." if plan.scale else "")
            )
            writer.provenance["load_after"] = machine.load()
        return writer


def _codecs(plan: LmPlan, subjects: Sequence[Subject], writer: BenchWriter, say: Say) -> Iterator[LmCodec]:
    """Codecs that an LM can drive; the others get a row that says why not."""
    dependent: list[str] = []
    for one in subjects:
        counted = list(count_rows(one))
        found = measure_latency(one, say, encoder=False)
        writer.add([*counted, *latency_rows(one, found)])
        why = one.failure or ("" if one.codec.codebook_sizes else "it has no codebooks for an LM to predict")
        if why or isinstance(found, str) or one.codec.frame_rate is None:
            writer.add([one.row("lm", "rtf", None, "simulated", why or str(found))])
            continue
        gmac = next((row.value for row in counted if (row.stage, row.quantity) == ("decode", "gmac")), None)
        exact = found.decoder["0"]
        ahead = {word: _frames(found, level) for word, level in LOOKAHEADS.items()}
        spec = TokenSpec(one.name, one.codec.frame_rate, tuple(one.codec.codebook_sizes), gmac=gmac)
        decoder = ChunkedDecoder(one.codec, found.frame, exact.ahead, exact.back)
        heads = plan.heads or plan.lm.heads
        if isinstance(one.codec, Residual) and heads == "parallel":
            dependent.append(one.name)
            heads = plan.heads or "delay"
        yield LmCodec(one, spec, decoder, ahead, heads)
    if dependent:
        how = "are nevertheless predicted in parallel" if plan.heads else "are predicted with a delay"
        writer.note(f"The codebooks of {', '.join(dependent)} depend on one another: they {how} (--heads).")


def _frames(found: latency.Latency, level: str) -> int | None:
    ahead = found.decoder[level].ahead
    return None if ahead is None else max(0, ceil(ahead / found.frame))


def _analytic(plan: LmPlan, lm: LanguageModel, machine: roofline.Hardware, codec: LmCodec) -> Iterator[Measurement]:
    heads = codec.heads

    def row(stage: Stage, quantity: str, value: float | None, reason: str = "", **where: object) -> Measurement:
        return codec.subject.row(stage, quantity, value, "analytic", reason, setting=setting(**base, **where))

    for cache in plan.caches:
        base = {"lm": lm.name, "cache": cache, "heads": heads, "hardware": machine.name}
        if codec.spec.gmac is None:
            yield row("both", "rtf", None, "its decoder's operations could not be counted", mode="offline")
            continue
        whole = roofline.estimate(lm, codec.spec, plan.speech, machine, cache, heads, 1)
        yield row("both", "rtf", whole.rtf, mode="offline")
        yield row("lm", "rtf", whole.rtf * whole.lm_share)
        yield row("lm", "steps", 1 / whole.step)
        yield row("lm", "share", whole.lm_share, of="rtf", part="lm")
        for first, word in product(plan.first, plan.lookahead):
            ahead = codec.ahead[word]
            if ahead is None:
                yield row("both", "ttfa", None, WHOLE, first=first, lookahead=word)
                continue
            spec = replace(codec.spec, ahead=ahead)
            found = roofline.estimate(lm, spec, plan.speech, machine, cache, heads, first)
            yield row("both", "ttfa", found.ttfa, first=first, lookahead=word)
            for part, share in parts(found.first_share, found.wait_share):
                yield row("both", "share", share, first=first, lookahead=word, of="ttfa", part=part)


def parts(own: float, waited: float) -> Iterator[tuple[str, float]]:
    """Shares of the time to first audio.

    Args:
        own: The LM, for the frames of the first chunk; 0 to 1.
        waited: The LM, for the later frames that the decoder looks ahead at; 0 to 1.

    Returns:
        `lm`, `wait` and `codec` with their shares, whose sum is 1.
    """
    return iter((("lm", own), ("wait", waited), ("codec", 1 - own - waited)))


def _simulated(plan: LmPlan, lm: LanguageModel, codecs: Sequence[LmCodec], say: Say) -> Iterator[list[Measurement]]:
    """Rounds that let every codec's LM generate once with every cache; the first is short, and warms up."""
    if not plan.rounds:
        return
    models = {}
    for codec in codecs:
        say(f"{codec.spec.name}: building {lm.name}")
        models[codec.spec.name] = build(lm, codec.spec, codec.heads, plan.device)
    short = replace(plan.speech, seconds=min(0.5, plan.speech.seconds))
    for number in range(plan.rounds + 1):
        say(f"generating, round {number} of {plan.rounds}" if number else "generating, warm-up")
        for codec in list(codecs)[:: -1 if number % 2 else 1]:
            for cache in plan.caches:
                made = models[codec.spec.name](plan.speech if number else short, cache)
                base = {"lm": lm.name, "cache": cache, "heads": codec.heads}
                delay = lm.delay if codec.heads == "delay" else 0
                rows = list(_round(plan, codec, made, base, delay, number))
                if number:
                    yield rows


def _round(
    plan: LmPlan, codec: LmCodec, made: Generated, base: Mapping[str, object], delay: int, number: int
) -> Iterator[Measurement]:
    def row(stage: Stage, quantity: str, value: float | None, reason: str = "", **where: object) -> Measurement:
        place = setting(**base, **where)
        return codec.subject.row(stage, quantity, value, "simulated", reason, setting=place, round=number)

    seconds, decoder = plan.speech.seconds, codec.decoder
    whole = decoder.whole(made.codes)
    yield row("both", "rtf", (made.total + whole) / seconds, mode="offline")
    yield row("lm", "rtf", made.total / seconds)
    yield row("lm", "cpu", made.cpu / seconds)
    yield row("lm", "steps", len(made.steps) / sum(made.steps))
    yield row("lm", "share", made.total / (made.total + whole), of="rtf", part="lm")
    for first, word in product(plan.first, plan.lookahead):
        where: dict[str, Any] = {"first": first, "lookahead": word}
        ahead = codec.ahead[word]
        if ahead is None:
            yield row("both", "ttfa", None, WHOLE, **where)
            continue
        own, waited = made.until(first), made.until(first + ahead + delay)
        ttfa = waited + decoder.first(made.codes, first, ahead)
        yield row("both", "ttfa", ttfa, **where)
        for part, share in parts(own / ttfa, (waited - own) / ttfa):
            yield row("both", "share", share, **where, of="ttfa", part=part)
        decoded = decoder.stream(made.codes, first, ahead)
        total = None if decoded is None else (made.total + decoded) / seconds
        yield row("both", "rtf", total, "a chunk depends on all codes", **where, mode="stream")

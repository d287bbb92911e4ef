"""Systems under test: what takes an utterance and gives back its reconstruction.

`RunningCodec` encodes and decodes, or takes both from the cache; `RenderedAudio` reads what a codec decoded elsewhere.
The rest of the pipeline knows `System` alone.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path

from evalkit import interrupt
from evalkit.audio import RESAMPLER, Audio
from evalkit.cache import Cache, content_key
from evalkit.codecs import Annotated, Batched, Codec, CodecInfo, Codes, Fielded, decoded_shape, plain
from evalkit.conditions.base import Clean, Condition, WrappedCodec
from evalkit.datasets.base import Utterance
from evalkit.environment.contained import contained
from evalkit.errors import AudioError, CodecError, describe, text_of
from evalkit.pipeline.coders import BatchCoder, Coder
from evalkit.pipeline.jobs import Source
from evalkit.soundfiles import checked, fetch

Failure = AudioError | CodecError
"""What may go wrong with one utterance: its file, or the codec."""


@dataclass(frozen=True)
class Reconstruction:
    """An utterance before and after a codec."""

    reference: Source
    decoded: Source
    """At the codec's own rate."""
    codes: Codes | None = None
    """None for audio that was decoded elsewhere."""
    tokens: Codes | None = None
    """What of the codes can be compared token by token; None where nothing can."""
    kbps: float | None = None
    """Measured from the codes, or declared; None where nobody declared it."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further columns for its rows."""


UNEQUAL = "batch (unlike single runs)"
"""Among the details of a codec whose batches are not equal to single runs: how many utterances a batch holds."""


def batch_details(codec: Codec, size: int) -> Mapping[str, object]:
    """The details of `codec` as it is used in batches of `size`."""
    unequal = size > 1 and isinstance(codec, Batched) and not codec.batch_equal
    return {**codec.details, UNEQUAL: size} if unequal else codec.details


class System(ABC):
    """One entry of a comparison: a codec at one bitrate, or audio that one decoded elsewhere."""

    name: str
    """As its rows are called."""
    runs: bool
    """Whether it encodes here; else its audio lies in files, which workers read."""
    condition: Condition = Clean()
    """What it is measured under."""
    offset: float | None = 0.0
    """Frames by which its codes lie behind those of clean audio; None where the two do not correspond."""
    frame_rate: float | None = None
    """Frames a second, of codecs that run here and have frames."""

    @abstractmethod
    def info(self) -> CodecInfo:
        """What determines its output, for the provenance."""

    @abstractmethod
    def reconstructions(self, utterances: Iterable[Utterance]) -> Iterator[tuple[Utterance, Reconstruction | Failure]]:
        """Every utterance with its reconstruction, in order, or with what went wrong."""

    def count(self, utterances: Sequence[Utterance]) -> int:
        """How many of `utterances` it has."""
        return len(utterances)

    def notes(self, count: int) -> Iterator[str]:
        """Sentences for readers of its scores, once all of `count` utterances have passed."""
        yield from ()


class RunningCodec(System):
    """A codec that encodes and decodes, or whose output is in the cache."""

    runs = True

    def __init__(
        self,
        name: str,
        codec: Codec,
        coder: Coder,
        info: CodecInfo,
        device: str,
        cache: Cache,
        condition: Condition | None = None,
        seed: int = 0,
    ) -> None:
        """`codec` is what `condition.wrap` made of it, `info` what the codec itself is."""
        self.name = name
        self.condition = condition or Clean()
        self.offset = self.condition.offset(codec)
        self.frame_rate = codec.frame_rate
        self._codec, self._coder, self._info = codec, coder, info
        # Read once: a property of somebody else's codec may raise, or be another one later.
        self._called, self._rate, self._details = codec.name, codec.sample_rate, codec.details
        self._sizes = tuple(map(plain, codec.codebook_sizes))
        if isinstance(coder, BatchCoder):
            self._details = batch_details(codec, coder.ahead + 1)
        self._device, self._cache, self._seed = device, cache, seed
        own = codec.inner if isinstance(codec, WrappedCodec) else codec
        self._fielded = own if isinstance(own, Fielded) else None
        """The codec, where its packets have fields: they are read from the packets, which the cache then keeps."""
        self._narrow: list[int] = []
        """Sampling rates of the utterances that lack a part of the codec's band."""
        self._extra: list[tuple[float, float]] = []
        """Bits of side information, and of all, by utterance that has any."""

    def info(self) -> CodecInfo:
        return self._info

    def reconstructions(self, utterances: Iterable[Utterance]) -> Iterator[tuple[Utterance, Reconstruction | Failure]]:
        pending: deque[tuple[Utterance, Callable[[], Reconstruction]]] = deque()
        for utterance in utterances:
            pending.append((utterance, self._begin(utterance)))
            if len(pending) > self._coder.ahead:
                yield _finish(*pending.popleft())
        while pending:
            yield _finish(*pending.popleft())

    def notes(self, count: int) -> Iterator[str]:
        if isinstance(self._codec, Annotated) and self._codec.note:
            yield f"{self.name}: {self._codec.note}."
        if UNEQUAL in self._details:
            size = self._details[UNEQUAL]
            yield f"{self.name} was run in batches of up to {size}: its codes differ from those of single runs."
        if isinstance(self._coder, BatchCoder) and (failed := self._coder.failures):
            yield f"{self.name}: {len(failed)} batches failed and were run one by one (the first: {failed[0]})."
        if self._extra:
            side, every = (sum(column) for column in zip(*self._extra, strict=True))
            sent = f"{self.name} sends side information, {side / len(self._extra):.0f} bits per utterance"
            yield f"{sent}." if isnan(every) else f"{sent}: {side / every:.1%} of its measured bitrate."
        if self._narrow and self._rate:
            found = " and ".join(f"{rate / 1000:g}" for rate in sorted(set(self._narrow)))
            yield (
                f"{self.name} works at {self._rate / 1000:g} kHz, but the audio of {len(self._narrow)} of {count} "
                f"utterances is at {found} kHz, with nothing above {max(self._narrow) / 2000:g} kHz."
            )

    def _begin(self, utterance: Utterance) -> Callable[[], Reconstruction]:
        try:
            clean = fetch(utterance.source)
            given = self._degraded(clean, utterance.id)
        except AudioError as error:
            return _raiser(error)
        reference = given if self.condition.against == "input" else clean
        source = Source(reference, reference.identity())
        output = replace(self._info, details=self._details, codebook_sizes=self._sizes).output()
        pcm = source.pcm if given is reference else given.pcm_hash()
        output |= {"seed": self._seed} if self._seed else {}
        key = content_key(codec=self._called, **output, device=self._device, reference=pcm, resampler=RESAMPLER)
        cached = self._cache.decoded(key)
        if cached is not None and not (self._fielded and cached.codes.bits and not cached.codes.payload):
            decoded = Source(cached.path, cached.identity)
            return lambda: self._passed(reference, source, cached.codes, decoded)
        try:
            at_rate = given.at(self._rate)
        except AudioError as error:
            return _raiser(error)
        coded = self._coder.start(at_rate.wav, int(content_key(seed=self._seed, reference=pcm)[:8], 16))

        def finish() -> Reconstruction:
            try:
                codes, wav = coded()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # somebody else's code: whatever it raises
                known = isinstance(error, CodecError)
                raise CodecError(f"{self._called} failed: {text_of(error) if known else describe(error)}") from error
            finally:
                interrupt.check()
            audio = Audio(wav, decoded_shape(self._codec, len(at_rate.wav), at_rate.sample_rate)[1])
            self._cache.store_decoded(key, codes if self._fielded else replace(codes, payload=()), audio)
            return self._passed(reference, source, codes, Source(audio, audio.identity()))

        return finish

    def _degraded(self, clean: Audio, utterance: str) -> Audio:
        """What the codec is given; raises AudioError where the condition cannot make it."""
        if type(self.condition).degrade is Condition.degrade:
            return clean
        what = f"the condition {self.condition.name}"
        try:
            rng = self.condition.generator(self._seed, clean.pcm_hash())
            with contained():
                return checked(self.condition.degrade(clean, rng, utterance), what)
        except (AudioError, KeyboardInterrupt):
            raise
        except BaseException as error:  # somebody else's code: whatever it raises
            raise AudioError(f"{what} failed: {describe(error)}") from error

    def _passed(self, reference: Audio, source: Source, codes: Codes, decoded: Source) -> Reconstruction:
        if self._sizes and self._rate and reference.sample_rate < self._rate:
            self._narrow.append(reference.sample_rate)
        if codes.extra_bits:
            self._extra.append((codes.extra_bits, codes.bits))
        tokens = codes if codes.indices is not None else None
        if self._fielded is not None:
            try:
                tokens = self._fielded.fields(codes)
            except (Exception, SystemExit) as error:  # somebody else's code: whatever it raises
                raise CodecError(f"{self._called} failed: fields: {describe(error)}") from error
        kbps = None if codes.latents is not None else codes.bits / reference.seconds / 1000
        return Reconstruction(source, decoded, codes, tokens, kbps)


class RenderedAudio(System):
    """Audio that a codec decoded elsewhere, one file an utterance."""

    runs = False

    def __init__(
        self,
        name: str,
        info: CodecInfo,
        find: Callable[[Utterance], Path],
        kbps: Callable[[Utterance], float | None],
        extra: Mapping[str, Mapping[str, str]] | None = None,
        listed: Collection[str] | None = None,
        passed_over: Sequence[str] = (),
    ) -> None:
        """`find` raises AudioError where an utterance has no file; `listed` are the ids that are asked for at all,
        None for all; `passed_over` are notes on files that no utterance asks for."""
        self.name = name
        self._info, self._find, self._kbps = info, find, kbps
        self._extra, self._listed, self._passed_over = extra or {}, listed, passed_over

    def info(self) -> CodecInfo:
        return self._info

    def notes(self, count: int) -> Iterator[str]:
        yield from self._passed_over

    def count(self, utterances: Sequence[Utterance]) -> int:
        return len(utterances) if self._listed is None else sum(one.id in self._listed for one in utterances)

    def reconstructions(self, utterances: Iterable[Utterance]) -> Iterator[tuple[Utterance, Reconstruction | Failure]]:
        for utterance in utterances:
            if self._listed is not None and utterance.id not in self._listed:
                continue
            try:
                decoded = Source(self._find(utterance))
            except AudioError as error:
                yield utterance, error
                continue
            extra = self._extra.get(utterance.id, {})
            reference = Source(utterance.source)
            yield utterance, Reconstruction(reference, decoded, kbps=self._kbps(utterance), extra=extra)


def _finish(utterance: Utterance, begun: Callable[[], Reconstruction]) -> tuple[Utterance, Reconstruction | Failure]:
    try:
        return utterance, begun()
    except (AudioError, CodecError) as error:
        return utterance, error


def _raiser(error: Exception) -> Callable[[], Reconstruction]:
    def fail() -> Reconstruction:
        raise error

    return fail

"""Taking utterances through a codec: read, encode, decode; from the cache where that was done before.

The codec itself runs here, or on other machines (evalkit/pipeline/ray_workers.py).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evalkit import interrupt
from evalkit.audio import Audio, Wave
from evalkit.cache import Cache, content_key
from evalkit.codecs import Codec, Codes
from evalkit.datasets.base import Utterance
from evalkit.errors import AudioError, CodecError
from evalkit.pipeline.choice import CodecChoice, Rendered
from evalkit.pipeline.jobs import Source

Failure = AudioError | CodecError
"""What may go wrong with one utterance: its file, or the codec."""


@dataclass(frozen=True)
class Reconstruction:
    """An utterance before and after a codec: the reference as it was read, its codes (None for audio that was rendered
    elsewhere), and what the codec made of it, at the codec's own rate."""

    reference: Audio
    codes: Codes | None
    decoded: Source


class Coder(Protocol):
    """Where a codec runs."""

    ahead: int
    """Utterances to begin before the first is needed."""

    def start(self, wav: Wave) -> Callable[[], tuple[Codes, Wave]]:
        """Begin to code `wav` [T] at the codec's rate; the answer waits for the codes and the decoded audio."""
        ...


class LocalCoder:
    """In this process, one utterance after the other."""

    ahead = 0

    def __init__(self, choice: CodecChoice, codec: Codec, device: str) -> None:
        self._codec = codec

    def start(self, wav: Wave) -> Callable[[], tuple[Codes, Wave]]:
        return lambda: code(self._codec, wav)


def code(codec: Codec, wav: Wave) -> tuple[Codes, Wave]:
    """Codes of `wav` [T] at the codec's rate, and the decoded audio."""
    codes = codec.encode(wav)
    return codes, codec.decode(codes)


def reconstructions(
    codec: Codec | Rendered, coder: Coder | None, utterances: Iterable[Utterance], device: str, cache: Cache
) -> Iterator[tuple[Utterance, Reconstruction | Failure]]:
    """Every utterance with its reconstruction, in order, or with what went wrong."""
    under_way: deque[tuple[Utterance, Callable[[], Reconstruction]]] = deque()
    ahead = coder.ahead if coder is not None else 0
    for utterance in utterances:
        under_way.append((utterance, _begin(codec, coder, utterance, device, cache)))
        if len(under_way) > ahead:
            yield _finish(*under_way.popleft())
    while under_way:
        yield _finish(*under_way.popleft())


def _finish(
    utterance: Utterance, reconstruction: Callable[[], Reconstruction]
) -> tuple[Utterance, Reconstruction | Failure]:
    try:
        return utterance, reconstruction()
    except (AudioError, CodecError) as error:
        return utterance, error


def _begin(
    codec: Codec | Rendered, coder: Coder | None, utterance: Utterance, device: str, cache: Cache
) -> Callable[[], Reconstruction]:
    try:
        reference = utterance.audio()
        if isinstance(codec, Rendered):
            rendered = Reconstruction(reference, None, Source(codec.file(utterance.id)))
            return lambda: rendered
    except AudioError as error:
        return _raiser(error)
    key = content_key(codec=codec.name, **describe_codec(codec), device=device, reference=reference.pcm_hash())
    if (kept := cache.decoded(key)) is not None:
        known = Reconstruction(reference, kept.codes, Source(kept.path, kept.pcm))
        return lambda: known
    source = reference.at(codec.sample_rate)
    assert coder is not None
    coded = coder.start(source.wav)

    def finish() -> Reconstruction:
        try:
            codes, wav = coded()
        except Exception as error:  # somebody else's code: whatever it raises
            raise CodecError(f"{codec.name} failed: {type(error).__name__}: {error}") from error
        finally:
            interrupt.check()
        decoded = Audio(wav, source.sample_rate)
        cache.keep_decoded(key, codes, decoded)
        return Reconstruction(reference, codes, Source(decoded, decoded.pcm_hash()))

    return finish


def _raiser(error: Exception) -> Callable[[], Reconstruction]:
    def fail() -> Reconstruction:
        raise error

    return fail


def kbps(codec: Codec | Rendered, codes: Codes | None, seconds: float) -> float | None:
    """Measured from `codes`, or declared where there are none; None where nobody declared it."""
    if codes is not None:
        return codes.bits / seconds / 1000
    bitrate = codec.bitrate if isinstance(codec, Rendered) else None
    return None if bitrate is None else bitrate / 1000


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


def is_narrow(codec: Codec | Rendered, reference: Audio) -> bool:
    """Whether `codec` has codebooks, so that it was trained for its whole band, and `reference` lacks a part of it."""
    return not isinstance(codec, Rendered) and bool(
        codec.codebook_sizes and codec.sample_rate and reference.sample_rate < codec.sample_rate
    )


def own_notes(codecs: Iterable[Codec | Rendered]) -> Iterator[str]:
    """What codecs have to say to readers of their scores."""
    for codec in codecs:
        if note := getattr(codec, "note", ""):
            yield f"{codec.name}: {note}."


def narrow_notes(codecs: Iterable[Codec | Rendered], narrow: Mapping[str, Sequence[int]], n: int) -> Iterator[str]:
    """A sentence for each codec that was given less than its band."""
    for codec in codecs:
        if not isinstance(codec, Rendered) and codec.sample_rate and (rates := narrow.get(codec.name)):
            found = " and ".join(f"{rate / 1000:g}" for rate in sorted(set(rates)))
            yield (
                f"{codec.name} works at {codec.sample_rate / 1000:g} kHz, but {len(rates)} of {n} utterances are at "
                f"{found} kHz: it was given nothing above {max(rates) / 2000:g} kHz there."
            )

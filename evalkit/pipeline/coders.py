"""Where a codec runs: in this process, or on other machines (evalkit/pipeline/ray_workers.py)."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import Batched, Codec, Codes, check_codes, check_decoded, decoded_shape
from evalkit.environment.contained import contained
from evalkit.errors import CodecError, DeadlineError, describe


class Coder(Protocol):
    """Encodes and decodes utterances with one codec."""

    ahead: int
    """Utterances to begin before the first is needed."""

    def start(self, wav: Wave, seed: int) -> Callable[[], tuple[Codes, Wave]]:
        """Begin to encode `wav` [T] at the codec's rate; the answer waits for the codes and the decoded audio. A codec
        that draws does so from `seed`."""
        ...


class LocalCoder:
    """In this process, one utterance after the other."""

    ahead = 0

    def __init__(self, codec: Codec, timeout: float) -> None:
        self._codec, self._timeout = codec, timeout

    def start(self, wav: Wave, seed: int) -> Callable[[], tuple[Codes, Wave]]:
        return lambda: reconstruct(self._codec, wav, self._timeout, seed)


class BatchCoder:
    """In this process, up to `size` utterances at once. What fails in a batch is done again alone: it costs no other
    utterance its row, and gets the reason that it gets alone. numpy and torch are seeded as for the first of it."""

    def __init__(self, codec: Codec, size: int, timeout: float) -> None:
        """`codec` is `Batched` as well; `timeout` is in seconds an utterance, 0 for no limit."""
        self._codec, self._size, self._timeout = codec, size, timeout
        self.ahead = size - 1
        self.failures: list[str] = []
        """Why batches failed as a whole."""
        self._batch = _Batch()

    def start(self, wav: Wave, seed: int) -> Callable[[], tuple[Codes, Wave]]:
        if self._batch.made is not None or len(self._batch.wavs) == self._size:
            self._batch = _Batch()
        batch, place = self._batch, len(self._batch.wavs)
        batch.wavs.append(wav)
        batch.seeds.append(seed)
        return lambda: self._take(batch, place)

    def _take(self, batch: "_Batch", place: int) -> tuple[Codes, Wave]:
        """Codes and audio of the utterance at `place` of `batch`, to be taken once."""
        if batch.made is None:
            batch.made = [None] * len(batch.wavs)
            if len(batch.wavs) > 1:
                seed_everything(batch.seeds[0])
                self._fill(batch.wavs, batch.made)
        made, batch.made[place] = batch.made[place], None
        return made or reconstruct(self._codec, batch.wavs[place], self._timeout, batch.seeds[place])

    def _fill(self, wavs: Sequence[Wave], made: list[tuple[Codes, Wave] | None]) -> None:
        """Code `wavs` together, and put what the protocol allows into `made`."""
        codec = self._codec
        assert isinstance(codec, Batched)
        try:
            with contained(self._timeout * len(wavs)):
                coded = _as_many(codec.encode_batch([wav.copy() for wav in wavs]), len(wavs))
                whole = [_holds(check_codes, codec, *pair) for pair in zip(coded, map(len, wavs), strict=True)]
                good = [place for place, holds in enumerate(whole) if holds]
                kept = [_copied(coded[place]) for place in good]
                decoded = _as_many(codec.decode_batch([coded[place] for place in good]) if good else [], len(good))
                for place, codes, wav in zip(good, kept, decoded, strict=True):
                    if _holds(check_decoded, wav, decoded_shape(codec, codes.length, codec.sample_rate or 1)[0]):
                        made[place] = codes, wav.copy()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # somebody else's code: whatever it raises
            self.failures.append(describe(error))


@dataclass
class _Batch:
    """Utterances [T] that are coded together, once the first of them is asked for, and what came of it."""

    wavs: list[Wave] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    made: list[tuple[Codes, Wave] | None] | None = None


def _as_many(found: Any, count: int) -> Sequence[Any]:
    if not isinstance(found, Sequence) or len(found) != count:
        raise CodecError(f"a batch of {count} must return a list of as many")
    return found


def _holds(check: Callable[..., None], *what: Any) -> bool:
    try:
        check(*what)
    except CodecError:
        return False
    return True


def seed_everything(seed: int) -> None:
    """Seed numpy and, where it is loaded, torch."""
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def reconstruct(codec: Codec, wav: Wave, timeout: float, seed: int) -> tuple[Codes, Wave]:
    """Codes of `wav` [T] at the codec's rate and the decoded audio, both checked against the protocol.

    numpy and torch are seeded by `seed` first: what a codec draws depends on nothing that came before.

    The codec gets a copy of its own, and what it returns is copied: neither what it does to its input nor a buffer that
    it uses again for the next utterance changes what is kept. What it prints goes to standard error: standard output is
    for results.

    Raises:
        CodecError: what came back is not what the protocol asks for, or took longer than `timeout` seconds.
        Exception: whatever the codec raises.
    """
    seed_everything(seed)
    try:
        with contained(timeout):
            codes = codec.encode(wav.copy())
            check_codes(codec, codes, len(wav))
            kept = _copied(codes)
            decoded = codec.decode(codes)
            check_decoded(decoded, decoded_shape(codec, len(wav), codec.sample_rate or 1)[0])
            return kept, decoded.copy()
    except (Exception, KeyboardInterrupt):
        raise
    except DeadlineError as error:
        raise CodecError(str(error)) from error
    except BaseException as error:  # SystemExit and the like would end a worker of Ray
        raise CodecError(describe(error)) from error


def _copied(codes: Codes) -> Codes:
    arrays: dict[str, Any] = {"indices": codes.indices, "latents": codes.latents}
    return replace(codes, **{name: array.copy() for name, array in arrays.items() if array is not None})

"""In a batch: whether a recording's codes depend on what is coded beside it."""

from dataclasses import dataclass, replace

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import Batched, Codec, Codes
from evalkit.conditions.base import Condition, WrappedCodec


@dataclass(frozen=True)
class Batch(Condition):
    """The recording goes through the codec beside others, which are longer, so that it is padded: itself backwards,
    as often as it takes. The codec has to take batches (`Batched`)."""

    kind = "batch"
    about = "The recording is encoded in a batch with longer ones: if they do not affect it, its codes are equal."

    n: int = 3
    """Recordings in the batch."""

    def check(self) -> None:
        self.require(2 <= self.n <= 64, "n must be from 2 to 64")

    def wrap(self, codec: Codec, seed: int) -> Codec:
        self.require(isinstance(codec, Batched), f"{codec.name} takes one recording at a time")
        return _InBatch(codec, self)


class _InBatch(WrappedCodec):
    """`inner`, which is given longer recordings beside each."""

    inner: Batched  # type: ignore[assignment]

    def __init__(self, inner: Codec, condition: Batch) -> None:
        super().__init__(inner, condition)
        self._counts = range(2, condition.n + 1)

    def encode(self, wav: Wave) -> Codes:
        """Codes of `wav` [T], the first of its batch."""
        return self.inner.encode_batch([wav, *(np.tile(wav[::-1], count) for count in self._counts)])[0]

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] of the first of a batch."""
        return self.inner.decode_batch([codes, *(_longer(codes, count) for count in self._counts)])[0]


def _longer(codes: Codes, count: int) -> Codes:
    """`codes` `count` times in a row."""
    if codes.indices is None:
        return codes
    return replace(codes, indices=np.tile(codes.indices, (1, count)), length=codes.length * count)

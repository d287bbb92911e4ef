"""The same once more: a codec that is deterministic gives the same codes."""

from dataclasses import dataclass

from evalkit.audio import Wave
from evalkit.codecs import Codec, Codes
from evalkit.conditions.base import Condition, WrappedCodec


@dataclass(frozen=True)
class Again(Condition):
    """The codec encodes the recording backwards first, so that a state it keeps would show."""

    kind = "again"
    about = "The same audio is encoded again after other audio: a deterministic codec gives equal codes."

    def wrap(self, codec: Codec, seed: int) -> Codec:
        return _Second(codec, self)


class _Second(WrappedCodec):
    """`inner`, used before."""

    def encode(self, wav: Wave) -> Codes:
        """Codes of `wav` [T], after those of other audio."""
        self.inner.encode(wav[::-1].copy())
        return self.inner.encode(wav)

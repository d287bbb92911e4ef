"""Tandem coding: what was decoded is encoded again, by the same codec or after another one."""

from dataclasses import dataclass

from evalkit.audio import Wave, resample
from evalkit.codecs import Codec, Codes
from evalkit.conditions.base import Condition, WrappedCodec, fitted
from evalkit.pipeline.choice import choose


@dataclass(frozen=True)
class Tandem(Condition):
    """The codes are those of the last generation."""

    kind = "tandem"
    about = "The recording goes through the codec several times, or through another codec first."

    n: int = 1
    """Generations; 2 encodes the decoded audio once more."""
    through: str = ""
    """A codec, `opus@12k`, that the audio passes before every generation."""

    def check(self) -> None:
        self.require(1 <= self.n <= 64, "n must be from 1 to 64")
        self.require(self.n > 1 or bool(self.through), "n must be 2 or more, or through must name a codec")

    def wrap(self, codec: Codec, seed: int) -> Codec:
        other = choose(self.through).build("cpu") if self.through else None
        return _Generations(codec, self, self.n, other)


class _Generations(WrappedCodec):
    """`inner` as the last of `count` generations."""

    def __init__(self, inner: Codec, condition: Condition, count: int, other: Codec | None) -> None:
        super().__init__(inner, condition)
        self._count, self._other = count, other
        if other is not None:
            self.details = {**self.details, "through": dict(other.details)}

    def encode(self, wav: Wave) -> Codes:
        """Codes of the last generation."""
        for _ in range(self._count - 1):
            wav = self.inner.decode(self.inner.encode(self._pass(wav)))
        return self.inner.encode(self._pass(wav))

    def _pass(self, wav: Wave) -> Wave:
        """`wav` [T] as it comes out of the other codec, at the rate of this one."""
        other, rate = self._other, self.sample_rate
        if other is None:
            return wav
        if rate is None or other.sample_rate in (None, rate):
            return other.decode(other.encode(wav))
        given = resample(wav, rate, other.sample_rate or rate)
        back = resample(other.decode(other.encode(given)), other.sample_rate or rate, rate)
        return fitted(back, len(wav))

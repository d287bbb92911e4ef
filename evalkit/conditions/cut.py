"""Where the recording begins and what stands around it: a codec's frames fall elsewhere."""

from dataclasses import dataclass, replace

import numpy as np

from evalkit.audio import Audio, Wave
from evalkit.codecs import Codec, Codes
from evalkit.conditions.base import Condition, Reference, WrappedCodec


@dataclass(frozen=True)
class Shift(Condition):
    """Silence of `samples` samples at the codec's own rate goes before the recording; it is cut off again after
    decoding. By a whole number of hops, codes of a shift-invariant codec are those of clean audio, away from the start;
    below one hop, nothing promises that."""

    kind = "shift"
    about = "The recording is delayed by a few samples at the codec's rate, and brought back after decoding."

    samples: int

    def check(self) -> None:
        self.require(self.samples > 0, "samples must be 1 or more")

    def wrap(self, codec: Codec, seed: int) -> Codec:
        return _Surrounded(codec, self, self.samples, 0)

    def offset(self, codec: Codec) -> float | None:
        if codec.frame_rate is None or codec.sample_rate is None:
            return None
        return self.samples * codec.frame_rate / codec.sample_rate


@dataclass(frozen=True)
class Pad(Condition):
    """Digital silence after the recording; what is decoded of it is cut off."""

    kind = "pad"
    about = "Silence is appended before encoding and cut off after decoding."

    seconds: float = 1.0

    def check(self) -> None:
        self.require(0 < self.seconds <= 60, "seconds must be above 0 and at most 60")

    def wrap(self, codec: Codec, seed: int) -> Codec:
        self.require(codec.sample_rate is not None, f"{codec.name} has no sampling rate of its own")
        return _Surrounded(codec, self, 0, round(self.seconds * (codec.sample_rate or 0)))


@dataclass(frozen=True)
class Crop(Condition):
    """The start of the recording is left out; scored against what is left."""

    kind = "crop"
    about = "The start of the recording is cut off."

    seconds: float = 0.5
    keeps_text = False

    @property
    def against(self) -> Reference:
        return "input"

    def check(self) -> None:
        self.require(self.seconds > 0, "seconds must be above 0")

    def degrade(self, audio: Audio, rng: np.random.Generator, utterance: str) -> Audio:
        return Audio(audio.wav[round(self.seconds * audio.sample_rate) :], audio.sample_rate)

    def offset(self, codec: Codec) -> float | None:
        return None if codec.frame_rate is None else -self.seconds * codec.frame_rate


class _Surrounded(WrappedCodec):
    """Silence before and after what is encoded, cut off again from what is decoded."""

    def __init__(self, inner: Codec, condition: Condition, before: int, after: int) -> None:
        super().__init__(inner, condition)
        self._before, self._after = before, after

    def encode(self, wav: Wave) -> Codes:
        """Codes of `wav` [T] and the silence around it."""
        return replace(self.inner.encode(np.pad(wav, (self._before, self._after))), length=len(wav))

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] without the silence."""
        whole = replace(codes, length=self._before + codes.length + self._after)
        return self.inner.decode(whole)[self._before :][: codes.length]

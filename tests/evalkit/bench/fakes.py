"""Codecs whose latency is known because it was made so."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import Availability, Codec, CodecInfo, Codes

RATE, HOP = 8_000, 80


class WindowCodec:
    """A frame's two codes are the levels of the samples from `past` before it to `ahead` after it; a sample is the mean
    of the frames from `early` samples after it to `late` samples before it. All in samples; `ahead` may be infinite."""

    sample_rate: int | None = RATE
    frame_rate: float | None = RATE / HOP
    codebook_sizes: tuple[int, ...] = (1 << 16, 1 << 16)
    details: Mapping[str, object] = MappingProxyType({})

    def __init__(self, past: int = 0, ahead: float = 0, late: int = 0, early: int = 0, loud: float = 1.0) -> None:
        self.name = "window"
        self._past, self._ahead, self._late, self._early, self._loud = past, ahead, late, early, loud
        self.streaming = early <= 0

    def encode(self, wav: Wave) -> Codes:
        if np.abs(wav).max(initial=0) > self._loud:
            raise ValueError("too loud")
        count = -(-len(wav) // HOP)
        rows = []
        for n in range(count):
            end = len(wav) if np.isinf(self._ahead) else (n + 1) * HOP + int(self._ahead)
            seen = wav[max(0, n * HOP - self._past) : max(0, end)].astype(np.float64)
            rows.append((_level(seen.sum()), _level(seen @ np.arange(len(seen)))))
        return Codes(len(wav), np.array(rows, np.int64).reshape(-1, 2).T.copy(), self.codebook_sizes)

    def decode(self, codes: Codes) -> Wave:
        assert codes.indices is not None
        sums = np.concatenate([[0], np.cumsum(codes.indices[0])])  # of whole numbers: exact
        sample = np.arange(codes.length)
        first = np.maximum(0, (sample - self._late) // HOP)
        end = np.minimum(len(sums) - 1, (sample + self._early) // HOP + 1)
        count = np.maximum(end - first, 0)
        means = (sums[np.maximum(end, first)] - sums[first]) / np.maximum(count, 1) / (1 << 16) - 0.5
        return np.where(count, means, 0.0).astype(np.float32)


def _level(value: float) -> int:
    """A number that differs wherever `value` does."""
    return int(np.frombuffer(np.float64(value).tobytes(), np.uint16).astype(np.int64).dot([1, 3, 7, 11]) % (1 << 16))


class WideCodec(WindowCodec):
    """Decodes to twice the rate."""

    output_rate = 2 * RATE

    def decode(self, codes: Codes) -> Wave:
        return super().decode(codes).repeat(2)


class RestlessCodec(WindowCodec):
    """Never decodes to the same audio twice."""

    def decode(self, codes: Codes) -> Wave:
        return super().decode(codes) + np.float32(1e-6) * np.random.default_rng().standard_normal(codes.length).astype(
            np.float32
        )


class Family:
    """One codec as a family, which can have random weights."""

    default_rate = "1k"
    rates: Mapping[str, float] = MappingProxyType({"1k": 1000.0})
    license = ""

    def __init__(self, codec: Codec, ready: bool = True) -> None:
        self.name, self._codec, self._ready = codec.name, codec, ready

    def availability(self, rate: str) -> Availability:
        return Availability("ready" if self._ready else "needs download")

    def info(self, rate: str) -> CodecInfo:
        return CodecInfo(RATE, RATE / HOP, self._codec.codebook_sizes)

    def build(self, rate: str, device: str) -> Codec:
        return self._codec

    def random(self, rate: str, device: str) -> Codec:
        return self._codec

"""Telephone speech: samples at 8 kHz, each as one of 256 steps of the mu-law curve (ITU-T G.711), 64 kbit/s.

A complete codec for evalkit in one file: a class with `encode` and `decode`, and a family that lists its bitrates;
and a metric, which takes one class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import READY, Availability, Codec, CodecInfo, Codes
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import Pair, PairMetric

SAMPLE_RATE = 8_000
STEPS = 256
MU = STEPS - 1


class MulawCodec:
    """One code a sample. evalkit resamples to `sample_rate` before `encode` and from it before scoring."""

    name = "mulaw@64k"
    sample_rate: int | None = SAMPLE_RATE
    frame_rate: float | None = float(SAMPLE_RATE)
    codebook_sizes: tuple[int, ...] = (STEPS,)
    streaming = True
    details: Mapping[str, object] = MappingProxyType({"mu": MU})  # what changes the output: weights, settings, versions

    def encode(self, wav: Wave) -> Codes:
        """Indices [1, T] of `wav` [T]; what is beyond full scale is cut off."""
        loud = np.clip(wav, -1, 1)
        curved = np.sign(loud) * np.log1p(MU * np.abs(loud)) / np.log1p(MU)
        indices = np.round((curved + 1) / 2 * MU).astype(np.int64)
        return Codes(len(wav), indices[None], self.codebook_sizes)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length]: float32, and as long as what was encoded."""
        assert codes.indices is not None
        curved = 2 * codes.indices[0] / MU - 1
        return (np.sign(curved) * np.expm1(np.abs(curved) * np.log1p(MU)) / MU).astype(np.float32)


class MulawFamily:
    """All bitrates of the codec: label on the command line -> exact bit/s."""

    name = "mulaw"
    rates: Mapping[str, float] = MappingProxyType({"64k": 64_000.0})
    default_rate = "64k"
    license = "none needed"

    def availability(self, rate: str) -> Availability:
        """Whether it can run here; a codec that needs a download says "needs download" and how to get it."""
        return READY

    def build(self, rate: str, device: str) -> Codec:
        """The codec. Import torch and open weights here, not above: `evalkit list` loads this file."""
        return MulawCodec()

    def info(self, rate: str) -> CodecInfo:
        """Optional: the columns of `evalkit list codecs`."""
        return CodecInfo(SAMPLE_RATE, float(SAMPLE_RATE), (STEPS,), causal=True)


FAMILY = MulawFamily()


@dataclass(frozen=True)
class ClippedSamples(PairMetric):
    """Samples of the decoded audio at full scale or beyond, in percent: 100 |{t : |d[t]| >= 1}| / T, from 0 to 100."""

    def score(self, pair: Pair) -> float:
        """A finite number, or UndefinedScore with the reason: a failure never becomes a number."""
        if len(pair.decoded) == 0:
            raise UndefinedScore("no samples")
        return float(100 * np.mean(np.abs(pair.decoded) >= 1))


CLIPPED = ClippedSamples(
    name="clipped-samples", label="Clipped", direction="down", unit="%", low=0.0, high=100.0, version="1", decimals=2
)

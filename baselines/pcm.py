"""The original samples, without a codec: each metric's upper limit, and a check of the pipeline."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import READY, Availability, Codec, CodecInfo, Codes

BITS_A_SAMPLE = 32


class PcmCodec:
    """Identity at any sample rate: 32-bit float samples, bit for bit."""

    name = "pcm@float32"
    sample_rate: int | None = None
    frame_rate: float | None = None
    codebook_sizes: tuple[int, ...] = ()
    streaming = True
    details: Mapping[str, object] = MappingProxyType({})

    def encode(self, wav: Wave) -> Codes:
        """`wav` [T] as one packet of 32 T bits."""
        samples = np.ascontiguousarray(wav, dtype="<f4")
        return Codes(len(wav), payload=(samples.tobytes(),), payload_bits=BITS_A_SAMPLE * len(wav))

    def decode(self, codes: Codes) -> Wave:
        """The samples [codes.length] that went in."""
        return np.frombuffer(b"".join(codes.payload), dtype="<f4").astype(np.float32)


class PcmFamily:
    """`pcm@float32`. Its rate is declared for audio at 16 kHz and grows with the sample rate."""

    name = "pcm"
    rates: Mapping[str, float] = {"float32": BITS_A_SAMPLE * 16_000.0}
    default_rate = "float32"
    license = "none needed"

    def availability(self, rate: str) -> Availability:
        """Always ready."""
        return READY

    def info(self, rate: str) -> CodecInfo:
        """What is known of doing nothing."""
        return CodecInfo(causal=True)

    def build(self, rate: str, device: str = "cpu") -> Codec:
        """The identity codec."""
        return PcmCodec()


FAMILY = PcmFamily()

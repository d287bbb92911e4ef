"""Codec 2 (David Rowe), a parametric speech coder for radio at 0.7 to 3.2 kbit/s, by pycodec2.

It preserves the spectral envelope and the pitch, not the waveform, and is limited to 4 kHz. Its decoder draws the
phases of unvoiced speech from a random generator that cannot be reset within a process. Every utterance is therefore
decoded in its own process, so that the same codes give the same audio.
"""

import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import Availability, Codec, CodecInfo, Codes
from evalkit.environment import extras

DECODER = Path(__file__).with_name("codec2_decoder.py")
SAMPLE_RATE = 8_000
MODES = {"3.2k": 3200, "2.4k": 2400, "1.6k": 1600, "1.4k": 1400, "1.3k": 1300, "1.2k": 1200, "0.7k": 700}
"""pycodec2's name of the mode at each rate; its 700 is the mode 700C."""
DELAYS = {mode: 240 if mode == 700 else 160 for mode in MODES.values()}
"""Samples by which what comes out is late, 20 ms or 30 ms, and which `decode` removes. Measured: over all delays, ESTOI
peaks within 2.5 ms of these in every mode. Left in, the delay would cost 0.15 of ESTOI at 1.2 kbit/s."""

VOICED, PITCH_AND_ENERGY = (1,), (8,)
PITCH, ENERGY = (7,), (5,)
LSP = (4,) * 7 + (3, 3, 2)
"""Bits of the ten line spectral pairs, each quantized by itself."""
FIELDS: Mapping[int, tuple[int, ...]] = {
    3200: 2 * VOICED + PITCH + ENERGY + (5,) * 10,
    2400: 2 * VOICED + PITCH_AND_ENERGY + LSP,
    1600: 2 * (2 * VOICED + PITCH + ENERGY) + LSP,
    1400: 2 * (2 * VOICED + PITCH_AND_ENERGY) + LSP,
    1300: 4 * VOICED + PITCH + ENERGY + LSP,
    1200: 2 * (2 * VOICED + PITCH_AND_ENERGY) + (9, 9, 9),
    700: (9, 9, 4, 6),
}
"""Bits of each field of a packet, in order (src/codec2.c of drowe67/codec2 at 93dbb62). What a packet has beyond these
is spare, and zero. Mode 700C has two stages of spectrum, energy, and pitch with voicing."""


class Codec2Codec:
    """One mode of Codec 2, 8 kHz in and out. Each utterance starts from a fresh encoder and decoder."""

    sample_rate: int | None = SAMPLE_RATE
    codebook_sizes: tuple[int, ...] = ()
    streaming = True

    def __init__(self, name: str, mode: int) -> None:
        """Raises MissingError where pycodec2 is not installed."""
        self.name = name
        self.mode = mode
        self.lookahead = (0.0, float(DELAYS[mode]))
        self._pycodec2 = extras.load("pycodec2", "classical")
        self.details: Mapping[str, object] = {"pycodec2": version("pycodec2"), "mode": mode}
        coder = self._pycodec2.Codec2(mode)
        self._frame: int = coder.samples_per_frame()
        self._bits: int = coder.bits_per_frame()
        self.frame_rate: float | None = SAMPLE_RATE / self._frame

    def encode(self, wav: Wave) -> Codes:
        """One packet for each frame (20 or 40 ms) of `wav` [T] at 8 kHz and of the codec's delay. Counts the bits of
        the mode: 28 a frame at 700 bit/s, though its packets are padded to 32."""
        count = -(-(len(wav) + DELAYS[self.mode]) // self._frame)
        pcm = np.zeros((count, self._frame), np.int16)
        pcm.reshape(-1)[: len(wav)] = np.clip(np.round(np.clip(wav, -1, 1) * 32768.0), -32768, 32767)
        encoder = self._pycodec2.Codec2(self.mode)
        return Codes(len(wav), payload=tuple(encoder.encode(frame) for frame in pcm), payload_bits=count * self._bits)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] at 8 kHz, in time with what was encoded."""
        command = [sys.executable, "-P", str(DECODER), str(self.mode)]
        done = subprocess.run(command, input=b"".join(codes.payload), capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"the decoder's process failed: {done.stderr.decode(errors='replace').strip()}")
        pcm = np.frombuffer(done.stdout, np.int16)
        start = DELAYS[self.mode]
        return (pcm[start : start + codes.length] / 32768).astype(np.float32)

    def fields(self, codes: Codes) -> Codes:
        """The fields of each packet as indices [fields, packets], in Gray code where the packet has them so: equal
        fields have equal indices."""
        widths = FIELDS[self.mode]
        packets = np.array([list(packet) for packet in codes.payload], np.uint8)
        bits = np.unpackbits(packets, axis=1).astype(np.int64)
        parts = np.split(bits, np.cumsum(widths), axis=1)
        indices = [part @ (1 << np.arange(width)[::-1]) for part, width in zip(parts, widths, strict=False)]
        return Codes(codes.length, np.stack(indices), tuple(2**width for width in widths))


class Codec2Family:
    """Codec 2 at every rate that pycodec2 has."""

    name = "codec2"
    rates: Mapping[str, float] = {rate: float(mode) for rate, mode in MODES.items()}
    default_rate = "1.2k"
    license = "LGPL-2.1 (Codec 2), BSD (pycodec2)"

    def availability(self, rate: str) -> Availability:
        """Ready where pycodec2 is installed."""
        return extras.availability("pycodec2", "classical")

    def info(self, rate: str) -> CodecInfo:
        """What is known of the mode."""
        return CodecInfo(SAMPLE_RATE, 50.0 if MODES[rate] >= 2400 else 25.0, code_license="LGPL-2.1", causal=True)

    def build(self, rate: str, device: str = "cpu") -> Codec:
        """Codec 2 at `rate`, always on the CPU; raises MissingError where pycodec2 is not installed."""
        return Codec2Codec(f"{self.name}@{rate}", MODES[rate])


FAMILY = Codec2Family()

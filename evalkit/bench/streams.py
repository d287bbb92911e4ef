"""How long a stream's packets take, where a codec streams.

Decoding: codes are pushed frame by frame; the first packet is the time that the first push takes. Encoding: samples are
pushed frame by frame; codes come as soon as enough audio is in, so that the first packet is that much audio, and the
time that the last of these pushes takes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import Codes, StreamDecodable, StreamEncodable


@dataclass(frozen=True)
class Packets:
    """Milliseconds of the first packet, median and 95th percentile of the later ones, and which share of those took
    longer than they last."""

    first: float
    median: float
    p95: float
    misses: float


def decoding(codec: StreamDecodable, codes: Codes, frame_ms: float) -> Packets:
    """Decode frame by frame with a new stream.

    Args:
        codec: One that streams.
        codes: With indices [K, N].
        frame_ms: What a frame lasts.

    Returns:
        Times in ms.
    """
    assert codes.indices is not None
    push, indices = codec.stream_decoder(), codes.indices
    taken = [_timed(push, indices[:, n : n + 1])[0] for n in range(indices.shape[1])]
    return _packets(taken[0], taken[1:], frame_ms)


def encoding(codec: StreamEncodable, wav: Wave, frame: int, frame_ms: float) -> Packets:
    """Encode frame by frame with a new stream.

    Args:
        codec: One that streams.
        wav: [T] at its rate: whole frames.
        frame: Samples of a frame.
        frame_ms: What a frame lasts.

    Returns:
        Times in ms.

    Raises:
        ValueError: No codes came.
    """
    push = codec.stream_encoder()
    waited, first = 0.0, None
    later: list[float] = []
    for start in range(0, len(wav), frame):
        taken, codes = _timed(push, wav[start : start + frame])
        waited += frame_ms
        if first is not None:
            later.append(taken)
        elif codes.size:
            first = waited + taken
    if first is None or not later:
        raise ValueError(f"no codes arrived within {waited / 1000:.1f} s of audio")
    return _packets(first, later, frame_ms)


def _packets(first: float, later: list[float], frame_ms: float) -> Packets:
    middle, high = np.quantile(later, (0.5, 0.95))
    return Packets(first, float(middle), float(high), float(np.mean(np.array(later) > frame_ms)))


def _timed(push: Callable[[Any], Any], given: Any) -> tuple[float, Any]:
    """Milliseconds that a push takes, and what it gives."""
    start = time.perf_counter()
    made = push(given)
    return (time.perf_counter() - start) * 1000, made

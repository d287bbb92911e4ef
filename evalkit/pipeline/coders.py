"""Where a codec runs: in this process, or on other machines (evalkit/pipeline/ray_workers.py)."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import Codec, Codes, check_codes, check_decoded, decoded_shape
from evalkit.environment.deadline import deadline


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
    with deadline(timeout), redirect_stdout(sys.stderr):
        codes = codec.encode(wav.copy())
        check_codes(codec, codes, len(wav))
        arrays: dict[str, Any] = {"indices": codes.indices, "latents": codes.latents}
        kept = replace(codes, **{name: array.copy() for name, array in arrays.items() if array is not None})
        decoded = codec.decode(codes)
        check_decoded(decoded, decoded_shape(codec, len(wav), codec.sample_rate or 1)[0])
    return kept, decoded.copy()

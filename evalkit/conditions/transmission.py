"""Transmission: frames that are lost, bits that are wrong, codebooks that are left out."""

from dataclasses import dataclass, replace
from math import ceil, log2
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.codecs import Codec, Codes, Residual
from evalkit.conditions.base import Condition, WrappedCodec


@runtime_checkable
class Conceals(Protocol):
    """A codec with a concealment of its own for lost frames."""

    def decode_lossy(self, codes: Codes, lost: NDArray[np.bool_]) -> Wave:
        """Audio [codes.length] where the frames or packets `lost` [N] did not arrive."""
        ...


@dataclass(frozen=True)
class Loss(Condition):
    """Frames (packets, of a bitstream) are lost independently with `burst=1`, else in bursts of that mean length: the
    two-state model of Gilbert (1960) and Elliott (1963), in which all frames of the bad state are lost and none of the
    good one. The share of lost frames is `percent` in the mean. Before the first frame that arrives, index 0 stands in,
    or the first packet of a bitstream; where none arrives, silence."""

    kind = "loss"
    version = "2"  # Opus conceals by itself
    about = "Frames are lost, independently or in bursts (Gilbert-Elliott model)."

    percent: float
    burst: float = 1.0
    """Mean length of a burst in frames."""
    conceal: str = "auto"
    """own (the codec's), repeat (the frame before again), zero (index 0), or auto: own where there is one, else
    repeat."""

    def check(self) -> None:
        self.require(0 <= self.percent <= 90, "percent must be from 0 to 90")
        self.require(self.burst >= 1, "burst must be 1 frame or more")
        self.require(self.conceal in ("auto", "own", "repeat", "zero"), "conceal must be auto, own, repeat or zero")
        share = self.percent / 100
        self.require(share <= self.burst * (1 - share), "burst is too short for that percentage")

    def wrap(self, codec: Codec, seed: int) -> Codec:
        own = isinstance(codec, Conceals)
        self.require(self.conceal != "own" or own, f"{codec.name} has no loss concealment: use repeat")
        bitstream = not codec.codebook_sizes
        self.require(self.conceal != "zero" or not bitstream, f"{codec.name} has no codebooks: use repeat")
        return _Lossy(codec, self, seed)

    def lost(self, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which of `count` frames are lost [count]."""
        share, draws = self.percent / 100, rng.random(count)
        if self.burst == 1:
            return draws < share
        enter, leave = share / (self.burst * (1 - share)), 1 / self.burst
        lost = np.zeros(count, bool)
        bad = draws[0] < share if count else False
        for position in range(count):
            if position:
                bad = draws[position] >= leave if bad else draws[position] < enter
            lost[position] = bad
        return lost


class _Lossy(WrappedCodec):
    """`inner`, whose decoder does not get all frames."""

    def __init__(self, inner: Codec, condition: Loss, seed: int) -> None:
        super().__init__(inner, condition, seed)
        self._loss = condition

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] of the frames that arrive."""
        frames = len(codes.payload) if codes.indices is None else codes.indices.shape[1]
        lost = self._loss.lost(frames, self.generator(codes))
        if lost.all():
            return np.zeros(codes.length, np.float32)
        if isinstance(self.inner, Conceals) and self._loss.conceal in ("auto", "own"):
            return self.inner.decode_lossy(codes, lost)
        arrived = np.where(lost, -1, np.arange(frames))
        last = np.maximum.accumulate(arrived)  # -1 before the first frame that arrives
        if codes.indices is None:
            first = next((packet for packet, gone in zip(codes.payload, lost, strict=True) if not gone), b"")
            return self.inner.decode(replace(codes, payload=tuple(codes.payload[i] if i >= 0 else first for i in last)))
        chosen = arrived if self._loss.conceal == "zero" else last
        indices = np.where(chosen >= 0, codes.indices[:, np.maximum(chosen, 0)], 0)
        return self.inner.decode(replace(codes, indices=indices))


@dataclass(frozen=True)
class BitErrors(Condition):
    """Each bit is inverted with the probability `rate`. An index that leaves its codebook comes back from its start.
    Nothing is protected: a bitstream whose decoder refuses what arrives costs the utterance, with its reason."""

    kind = "bit-errors"
    about = "Random bits of the codes or the bitstream are flipped."

    rate: float
    """Probability, 0 to 0.5."""

    def check(self) -> None:
        self.require(0 <= self.rate <= 0.5, "rate must be from 0 to 0.5")

    def wrap(self, codec: Codec, seed: int) -> Codec:
        return _Inverted(codec, self, seed)


class _Inverted(WrappedCodec):
    """`inner`, whose decoder gets some bits inverted."""

    def __init__(self, inner: Codec, condition: BitErrors, seed: int) -> None:
        super().__init__(inner, condition, seed)
        self._rate = condition.rate

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] of what arrives."""
        rng = self.generator(codes)
        if codes.indices is None:
            payload = []
            for packet in codes.payload:
                bits = np.unpackbits(np.frombuffer(packet, np.uint8))
                payload.append(np.packbits(bits ^ (rng.random(len(bits)) < self._rate)).tobytes())
            return self.inner.decode(replace(codes, payload=tuple(payload)))
        indices = codes.indices.copy()
        for row, size in zip(indices, codes.codebook_sizes, strict=True):
            for bit in range(ceil(log2(size))):
                row ^= (rng.random(len(row)) < self._rate).astype(np.int64) << bit
            row %= size
        return self.inner.decode(replace(codes, indices=indices))


@dataclass(frozen=True)
class Codebooks(Condition):
    """For codecs whose decoder takes the first codebooks alone, as residual quantizers allow."""

    kind = "codebooks"
    about = "Only the first codebooks of a residual codec are sent."

    n: int

    def check(self) -> None:
        self.require(self.n >= 1, "n must be 1 or more")

    def wrap(self, codec: Codec, seed: int) -> Codec:
        residual = isinstance(codec, Residual) and codec.residual
        self.require(residual, f"the decoder of {codec.name} needs all codebooks")
        self.require(self.n <= len(codec.codebook_sizes), f"{codec.name} has {len(codec.codebook_sizes)} codebooks")
        return _First(codec, self)


class _First(WrappedCodec):
    """`inner` with its first codebooks alone."""

    def __init__(self, inner: Codec, condition: Codebooks) -> None:
        super().__init__(inner, condition)
        self.codebook_sizes = inner.codebook_sizes[: condition.n]

    def encode(self, wav: Wave) -> Codes:
        """The first codes of `wav` [T]."""
        codes = self.inner.encode(wav)
        assert codes.indices is not None
        count = len(self.codebook_sizes)
        return replace(codes, indices=codes.indices[:count], codebook_sizes=self.codebook_sizes)

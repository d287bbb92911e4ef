"""What the codes themselves say: bits sent, entropy of the tokens, and how much of each codebook is used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.codecs import Codes
from evalkit.errors import UndefinedScore
from evalkit.metrics.base import CodesMetric


@dataclass(frozen=True)
class Bitrate(CodesMetric):
    """Bits sent, divided by seconds of audio, over all utterances together: in bit/s, from 0 on.

    A token costs log2(codebook size) bits; a codec with a bitstream of its own costs the bits it counted. Frames that
    pad the end of an utterance are sent too, so short utterances measure above the declared bitrate.

    Undefined where nothing was encoded.
    """

    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """One row, `bitrate`."""
        if not codes or seconds <= 0:
            raise UndefinedScore("nothing was encoded")
        return {self.name: sum(one.bits for one in codes) / seconds}


@dataclass(frozen=True)
class Entropy(CodesMetric):
    """Entropy of each codebook's tokens in bits a token: -sum_i p_i log2 p_i, with p_i the share of entry i.

    Values lie in [0, log2(codebook size)]. Far below log2(size), the bitrate carries less than it could, and an entropy
    coder would save the difference. This is the plug-in estimate (Shannon 1948): n tokens cannot show more than
    log2(n) bits, and few tokens for each entry bias it downwards, so compare codecs on the same audio only.

    Undefined where nothing was encoded and for codecs without codebooks.
    """

    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """Rows `entropy` (mean of the codebooks), `entropy-cb1`, `entropy-cb2`, …"""
        return _rows(self.name, [_entropy(counts) for counts in _counts(codes)])


@dataclass(frozen=True)
class Utilisation(CodesMetric):
    """Share of each codebook's entries that occur at least once, in [0, 1].

    n tokens cannot use more than n / size of a codebook: below 1, a small dataset may be the reason.

    Undefined where nothing was encoded and for codecs without codebooks.
    """

    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """Rows `utilisation` (mean of the codebooks), `utilisation-cb1`, `utilisation-cb2`, …"""
        return _rows(self.name, [np.count_nonzero(counts) / len(counts) for counts in _counts(codes)])


def _counts(codes: Sequence[Codes]) -> list[NDArray[np.int64]]:
    """How often each entry occurs: one array [size] for each codebook."""
    if not codes:
        raise UndefinedScore("nothing was encoded")
    if any(one.indices is None for one in codes):
        raise UndefinedScore("the codec sends a bitstream of its own and has no codebooks")
    sizes = codes[0].codebook_sizes
    if any(one.codebook_sizes != sizes for one in codes):
        raise UndefinedScore("the codebooks differ between utterances")
    tokens = np.concatenate([one.indices for one in codes if one.indices is not None], axis=1)
    if tokens.size == 0:
        raise UndefinedScore("no tokens were sent")
    for number, (row, size) in enumerate(zip(tokens, sizes, strict=True), start=1):
        if row.min() < 0 or row.max() >= size:
            raise UndefinedScore(f"codebook {number} has {size} entries, the codes {row.min()} to {row.max()}")
    return [np.bincount(row, minlength=size) for row, size in zip(tokens, sizes, strict=True)]


def _entropy(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(shares @ np.log2(1 / shares))


def _rows(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: float(np.mean(values))} | {f"{name}-cb{k}": value for k, value in enumerate(values, start=1)}


BITRATE = Bitrate(
    name="bitrate",
    label="bit/s",
    direction="none",
    unit="bit/s",
    low=0.0,
    high=float("inf"),
    version="1",
    decimals=1,
)
ENTROPY = Entropy(
    name="entropy",
    label="Entropy",
    direction="none",
    unit="bit/token",
    low=0.0,
    high=float("inf"),
    version="1",
    decimals=2,
)
UTILISATION = Utilisation(
    name="utilisation",
    label="Codebook use",
    direction="up",
    unit="",
    low=0.0,
    high=1.0,
    version="1",
    decimals=3,
)

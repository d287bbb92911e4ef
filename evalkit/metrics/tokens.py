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
    """Bits sent per second of audio, over all utterances together:

        bitrate = sum over utterances of (tokens x log2(size), or bits of the stream) / sum of seconds

    A token costs log2(codebook size) bits; a codec with its own bitstream costs the bits that it counted. Side
    information counts too, and so do frames that pad the end of an utterance: on short utterances, the measured bitrate
    exceeds the declared one.

    Range:
        bit/s, 0 up. Neither direction is better: it is what the quality in the other columns costs.

    Source:
        The definition; tokens are counted as sent, without an entropy coder.

    Misses:
        What an entropy coder would save; see `entropy`.

    Undefined:
        Where nothing was encoded.

    Example:
        >>> codes = Codes(16_000, np.zeros((2, 50), np.int64), (1024, 1024))  # one second: 50 frames of 2 x 10 bits
        >>> BITRATE.score([codes], seconds=1.0)
        {'bitrate': 1000.0}
    """

    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """The pooled bitrate.

        Args:
            codes: Of every utterance that was encoded.
            seconds: Their duration in all.

        Returns:
            One row, `bitrate`, in bit/s.

        Raises:
            UndefinedScore: Nothing was encoded.
        """
        if not codes or seconds <= 0:
            raise UndefinedScore("nothing was encoded")
        if any(one.latents is not None for one in codes):
            raise UndefinedScore("the codec sends continuous latents, which have no bitrate")
        return {self.name: sum(one.bits for one in codes) / seconds}


@dataclass(frozen=True)
class Entropy(CodesMetric):
    """Entropy of each codebook's tokens in bits per token: -sum_i p_i log2 p_i, where p_i is the share of entry i.

    Range:
        bit/token, 0 to log2(codebook size). The gap to log2(size) is what an entropy coder would save.

    Source:
        The plug-in estimate of Shannon 1948.

    Misses:
        Dependence between tokens. n tokens cannot show more than log2(n) bits, and few tokens per entry bias the
        estimate downwards, so compare codecs only on the same audio.

    Undefined:
        Where nothing was encoded, and for codecs without codebooks.

    Example:
        >>> codes = Codes(4, np.array([[0, 1, 2, 3], [5, 5, 5, 5]]), (8, 8))
        >>> ENTROPY.score([codes], seconds=1.0)
        {'entropy': 1.0, 'entropy-cb1': 2.0, 'entropy-cb2': 0.0}
    """

    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """The entropy of each codebook and their mean.

        Args:
            codes: Of every utterance that was encoded.
            seconds: Their duration in all; plays no part.

        Returns:
            Rows `entropy` (mean of the codebooks), `entropy-cb1`, `entropy-cb2`, …, in bit/token.

        Raises:
            UndefinedScore: Nothing was encoded, or there are no codebooks.
        """
        return codebook_rows(self.name, [entropy(counts) for counts in codebook_counts(codes)])


@dataclass(frozen=True)
class Utilisation(CodesMetric):
    """Share of each codebook's entries that occur at least once: |{i : p_i > 0}| / size.

    Range:
        0 to 1, without unit. Higher is better.

    Source:
        The definition; papers also call it codebook usage.

    Misses:
        How evenly entries are used; `entropy` measures that. n tokens cannot use more than n / size of a codebook, so
        on a small dataset a low value may say little about the codec.

    Undefined:
        Where nothing was encoded, and for codecs without codebooks.

    Example:
        >>> codes = Codes(4, np.array([[0, 1, 2, 3], [5, 5, 5, 5]]), (8, 8))
        >>> UTILISATION.score([codes], seconds=1.0)
        {'utilisation': 0.3125, 'utilisation-cb1': 0.5, 'utilisation-cb2': 0.125}
    """

    def score(self, codes: Sequence[Codes], seconds: float) -> Mapping[str, float]:
        """The use of each codebook and their mean.

        Args:
            codes: Of every utterance that was encoded.
            seconds: Their duration in all; plays no part.

        Returns:
            Rows `utilisation` (mean of the codebooks), `utilisation-cb1`, `utilisation-cb2`, …

        Raises:
            UndefinedScore: Nothing was encoded, or there are no codebooks.
        """
        return codebook_rows(self.name, [np.count_nonzero(counts) / len(counts) for counts in codebook_counts(codes)])


def codebook_counts(codes: Sequence[Codes]) -> list[NDArray[np.int64]]:
    """How often each entry occurs: one array [size] for each codebook."""
    if not codes:
        raise UndefinedScore("nothing was encoded")
    if any(one.latents is not None for one in codes):
        raise UndefinedScore("the codec sends continuous latents and has no codebooks")
    if any(one.indices is None for one in codes):
        raise UndefinedScore("the codec has its own bitstream and no codebooks")
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


def entropy(counts: NDArray[np.int64]) -> float:
    """Bits a token, by how often each entry occurs."""
    shares = counts[counts > 0] / counts.sum()
    return float(shares @ np.log2(1 / shares))


def codebook_rows(name: str, values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Rows of a metric: the mean of its `values`, one for each codebook, and each by itself."""
    return {name: float(np.mean(values))} | {f"{name}-cb{k}": float(value) for k, value in enumerate(values, start=1)}


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

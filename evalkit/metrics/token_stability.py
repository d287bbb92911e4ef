"""How far a codec's tokens stay what they were, under a condition beside clean audio."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.codecs import Codes
from evalkit.metrics.base import TokenMetric
from evalkit.metrics.tokens import codebook_rows


@dataclass(frozen=True)
class TokenMatch(TokenMetric):
    """Share of tokens that are equal, frame by frame: mean over codebooks of |{n : a_n = b_n}| / N.

    Range:
        0 to 1, without unit. Higher is better. Chance is about the sum of p_i^2 over a codebook's entries.

    Source:
        The definition; papers call it token consistency or codec stability.

    Misses:
        How far apart unequal tokens are, and frames that moved by one: that is `token-edit`.

    Undefined:
        For bitstreams, and under conditions whose frames do not correspond to those of clean audio.

    Example:
        >>> clean = Codes(4, np.array([[0, 1, 2, 3], [5, 5, 5, 5]]), (8, 8))
        >>> other = Codes(4, np.array([[0, 1, 2, 7], [5, 5, 4, 4]]), (8, 8))
        >>> TOKEN_MATCH.score(other, clean)
        {'token-match': 0.625, 'token-match-cb1': 0.75, 'token-match-cb2': 0.5}
    """

    def score(self, codes: Codes, clean: Codes) -> Mapping[str, float]:
        """The share of equal tokens in each codebook, and the mean.

        Args:
            codes: Indices [K, N] under a condition.
            clean: Indices [K, N] of clean audio.

        Returns:
            Rows `token-match`, `token-match-cb1`, …
        """
        assert codes.indices is not None and clean.indices is not None
        return codebook_rows(self.name, (codes.indices == clean.indices).mean(axis=1))


@dataclass(frozen=True)
class TokenEdit(TokenMetric):
    """Levenshtein distance of each codebook's sequence of tokens, over its length: mean over codebooks.

    Range:
        0 to 1, without unit. Lower is better.

    Source:
        Levenshtein 1966; insertions, deletions and substitutions cost 1.

    Misses:
        How far apart unequal tokens are.

    Undefined:
        As `token-match`.

    Example:
        >>> clean = Codes(4, np.array([[1, 2, 3, 4]]), (8,))
        >>> late = Codes(4, np.array([[0, 1, 2, 3]]), (8,))
        >>> TOKEN_EDIT.score(late, clean)
        {'token-edit': 0.5, 'token-edit-cb1': 0.5}
    """

    def score(self, codes: Codes, clean: Codes) -> Mapping[str, float]:
        """The distance in each codebook, and the mean.

        Args:
            codes: Indices [K, N] under a condition.
            clean: Indices [K, M] of clean audio.

        Returns:
            Rows `token-edit`, `token-edit-cb1`, …
        """
        assert codes.indices is not None and clean.indices is not None
        pairs = zip(codes.indices, clean.indices, strict=True)
        return codebook_rows(self.name, np.array([edit_distance(a, b) / max(len(a), len(b)) for a, b in pairs]))


def edit_distance(a: NDArray[np.int64], b: NDArray[np.int64]) -> int:
    """Insertions, deletions and substitutions that make `a` [N] into `b` [M], at the least."""
    places = np.arange(len(b) + 1)
    row = places.copy()
    for position, token in enumerate(a, start=1):
        here = np.minimum(row[1:] + 1, row[:-1] + (b != token))  # delete; keep or substitute
        whole = np.concatenate([[position], here])
        row = np.minimum.accumulate(whole - places) + places  # insert
    return int(row[-1])


TOKEN_MATCH = TokenMatch(
    name="token-match",
    label="Token match",
    direction="up",
    unit="",
    low=0.0,
    high=1.0,
    version="1",
    decimals=3,
)
TOKEN_EDIT = TokenEdit(
    name="token-edit",
    label="Token edits",
    direction="down",
    unit="",
    low=0.0,
    high=1.0,
    version="1",
    decimals=3,
)

"""A model of tokens that learns as it goes: counts in contexts, each backed by the one before it."""

from collections.abc import Iterator, Sequence
from math import log2

import numpy as np
from numpy.typing import NDArray

Context = tuple[int, ...]

ORDERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "order 0": ((),),
    "order 1": ((), ("before",)),
    "codebook": ((), ("above",)),
    "both": ((), ("above",), ("above", "before")),
}
"""What a token is predicted from, each finer than the one before: nothing; the same codebook's token one frame before;
the token of the codebook above in the same frame."""


class BackoffModel:
    """Probabilities of the tokens 0 to size - 1, interpolated by Witten and Bell's method C (1991): in each context,
    the share of tokens that were new there is what is left to the context before it, and to equal shares in the end.
    It has no setting, so every codec is modelled alike."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._counts: dict[tuple[int, Context], dict[int, int]] = {}
        self._totals: dict[tuple[int, Context], int] = {}

    def probability(self, token: int, contexts: Sequence[Context]) -> float:
        """Of `token` after `contexts`, from the coarsest to the finest."""
        share = 1 / self.size
        for key in enumerate(contexts):
            if (total := self._totals.get(key, 0)) > 0:
                counts = self._counts[key]
                share = (counts.get(token, 0) + len(counts) * share) / (total + len(counts))
        return share

    def distribution(self, contexts: Sequence[Context]) -> NDArray[np.float64]:
        """Probabilities of all tokens [size]."""
        shares = np.full(self.size, 1 / self.size)
        for key in enumerate(contexts):
            if (total := self._totals.get(key, 0)) > 0:
                counts = self._counts[key]
                shares *= len(counts)
                shares[list(counts)] += list(counts.values())
                shares /= total + len(counts)
        return shares

    def learn(self, token: int, contexts: Sequence[Context]) -> None:
        """Count `token` in each of `contexts`."""
        for key in enumerate(contexts):
            counts = self._counts.setdefault(key, {})
            counts[token] = counts.get(token, 0) + 1
            self._totals[key] = self._totals.get(key, 0) + 1


def contexts_of(order: str, indices: NDArray[np.int64], codebook: int, frame: int) -> list[Context]:
    """What the token at `codebook` and `frame` of `indices` [K, N] is predicted from; nothing stands before the first
    frame, and above the first codebook stands the last one of the frame before."""
    known = {
        "before": int(indices[codebook, frame - 1]) if frame else -1,
        "above": int(indices[codebook - 1, frame]) if codebook else int(indices[-1, frame - 1]) if frame else -1,
    }
    return [tuple(known[name] for name in names) for names in ORDERS[order]]


def places(indices: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Codebook and frame of every token of `indices` [K, N], in the order in which they are sent."""
    for frame in range(indices.shape[1]):
        for codebook in range(indices.shape[0]):
            yield codebook, frame


def held_out_bits(utterances: Sequence[NDArray[np.int64]], sizes: Sequence[int], order: str = "both") -> float:
    """Bits of all tokens by models that learned from the other half of the `utterances` [K, N], two halves in turn:
    how predictable tokens are for a small language model. Every other utterance belongs to the first half."""
    bits = 0.0
    for half in (0, 1):
        models = [BackoffModel(size) for size in sizes]
        for indices in utterances[1 - half :: 2]:
            for k, n in places(indices):
                models[k].learn(int(indices[k, n]), contexts_of(order, indices, k, n))
        for indices in utterances[half::2]:
            for k, n in places(indices):
                bits -= log2(models[k].probability(int(indices[k, n]), contexts_of(order, indices, k, n)))
    return bits

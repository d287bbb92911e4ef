"""An adaptive arithmetic coder over codes: the range coder of `constriction`, with the models of model.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np
from numpy.typing import NDArray

from evalkit.environment import extras
from evalkit.rates.model import BackoffModel, contexts_of, places


@dataclass(frozen=True)
class CodedLength:
    """What coding all utterances took."""

    bits: int
    """Of the coded words."""
    information: float
    """-sum log2 p in bits: what the models say that it takes at the least."""


def coded_length(utterances: Sequence[NDArray[np.int64]], sizes: Sequence[int], order: str) -> CodedLength:
    """Code the tokens of `utterances` [K, N], one after the other, with models that learn on the way, and check that
    decoding gives them back.

    Raises:
        MissingError: `constriction` is not installed.
        AssertionError: the decoded tokens differ from the coded ones.
    """
    constriction = extras.load("constriction", "rates")
    encoder = constriction.stream.queue.RangeEncoder()
    models, information = [BackoffModel(size) for size in sizes], 0.0
    for indices in utterances:
        for k, n in places(indices):
            token, contexts = int(indices[k, n]), contexts_of(order, indices, k, n)
            shares = models[k].distribution(contexts)
            information -= log2(shares[token])
            encoder.encode(token, _entropy_model(constriction, shares))
            models[k].learn(token, contexts)
    words = encoder.get_compressed()
    decoder = constriction.stream.queue.RangeDecoder(words)
    models = [BackoffModel(size) for size in sizes]
    for indices in utterances:
        found = np.full_like(indices, -1)
        for k, n in places(indices):
            contexts = contexts_of(order, found, k, n)
            found[k, n] = decoder.decode(_entropy_model(constriction, models[k].distribution(contexts)))
            models[k].learn(int(found[k, n]), contexts)
        assert np.array_equal(found, indices), "the decoded tokens differ from the coded ones"
    return CodedLength(int(encoder.num_bits()), information)


def _entropy_model(constriction: object, shares: NDArray[np.float64]) -> object:
    return constriction.stream.model.Categorical(shares, perfect=False)  # type: ignore[attr-defined]

"""The rate ledger of a run: for each codec and condition, what its codes cost by every way of counting."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import log2

import numpy as np

from evalkit.metrics.tokens import codebook_counts, entropy
from evalkit.rates.coder import coded_length
from evalkit.rates.model import held_out_bits
from evalkit.results.rows import Coded


@dataclass(frozen=True)
class Ledger:
    """Bits a second of one codec's codes; None where there are no tokens."""

    codec: str
    dataset: str
    condition: str
    utterances: int
    seconds: float
    sent: float
    """As counted in the codes, with whatever is sent beside the tokens."""
    tokens: float | None = None
    """Tokens x log2(codebook size)."""
    entropy: float | None = None
    """Order-0 entropy of each codebook, by the shares of its tokens over all utterances."""
    order_0: float | None = None
    """As coded, from nothing but how often each token came before."""
    order_1: float | None = None
    """As coded, from the token of the frame before."""
    codebook: float | None = None
    """As coded, from the token of the codebook above."""
    held_out: float | None = None
    """By an n-gram model that learned from the other half of the utterances."""
    used: tuple[float, ...] = ()
    """Share of each codebook's entries that occur."""
    perplexity: tuple[float, ...] = ()
    """2 to the entropy, of each codebook."""


def ledgers(coded: Iterable[Coded]) -> Iterator[Ledger]:
    """The ledger of each codec, dataset and condition of `coded`, in the order in which they come.

    Raises:
        MissingError: `constriction` is not installed.
    """
    groups: dict[tuple[str, str, str], list[Coded]] = {}
    for one in coded:
        groups.setdefault((one.codec, one.dataset, one.condition), []).append(one)
    for (codec, dataset, condition), group in groups.items():
        yield _ledger(codec, dataset, condition, sorted(group, key=lambda one: one.utterance))


def _ledger(codec: str, dataset: str, condition: str, group: list[Coded]) -> Ledger:
    seconds = sum(one.seconds for one in group)
    sent = sum(one.codes.bits for one in group) / seconds
    known = Ledger(codec, dataset, condition, len(group), seconds, sent)
    utterances = [one.codes.indices for one in group if one.codes.indices is not None and one.codes.indices.size]
    sizes = group[0].codes.codebook_sizes
    if len(utterances) < len(group) or any(one.codes.codebook_sizes != sizes for one in group):
        return known
    counts = codebook_counts([one.codes for one in group])
    entropies = [entropy(one) for one in counts]
    frames = sum(u.shape[1] for u in utterances)
    return Ledger(
        codec, dataset, condition, len(group), seconds, sent,
        tokens=frames * sum(map(log2, sizes)) / seconds,
        entropy=frames * sum(entropies) / seconds,
        order_0=coded_length(utterances, sizes, "order 0").bits / seconds,
        order_1=coded_length(utterances, sizes, "order 1").bits / seconds,
        codebook=coded_length(utterances, sizes, "codebook").bits / seconds if len(sizes) > 1 else None,
        held_out=held_out_bits(utterances, sizes) / seconds if len(utterances) > 1 else None,
        used=tuple(float(np.count_nonzero(one) / len(one)) for one in counts),
        perplexity=tuple(2**one for one in entropies),
    )  # fmt: skip

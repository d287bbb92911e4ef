"""Coded bits against what the models promise and against scipy's entropy; models that learn what there is to learn."""

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from evalkit.codecs import Codes
from evalkit.rates.coder import coded_length
from evalkit.rates.ledger import ledgers
from evalkit.rates.model import ORDERS, BackoffModel, held_out_bits
from evalkit.results.rows import Coded


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    order=st.sampled_from(list(ORDERS)),
    sizes=st.lists(st.integers(2, 40), min_size=1, max_size=3),
)
def test_coded_bits_are_decoded_and_never_below_the_information(seed: int, order: str, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    utterances = [np.stack([rng.integers(0, size, n) for size in sizes]) for n in rng.integers(0, 12, 3)]
    found = coded_length(utterances, sizes, order)
    assert found.information <= found.bits + 1e-9 and found.bits <= found.information * 1.001 + 96


def test_a_damaged_model_cannot_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check is for: a decoder that learns otherwise."""
    rng = np.random.default_rng(0)
    utterances = [rng.integers(0, 4, (1, 200))]
    learn, calls = BackoffModel.learn, [0]

    def forgetful(self: BackoffModel, token: int, contexts: list[tuple[int, ...]]) -> None:
        calls[0] += 1
        if calls[0] != 250:  # in the middle of decoding
            learn(self, token, contexts)

    monkeypatch.setattr(BackoffModel, "learn", forgetful)
    with pytest.raises(AssertionError, match="differ from the coded ones"):
        coded_length(utterances, [4], "order 0")


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 9), st.integers(0, 9))
def test_shares_are_a_distribution_and_agree_with_single_ones(tokens: list[int], last: int, above: int) -> None:
    model, contexts = BackoffModel(10), [(), (last,), (last, above)]
    for token in tokens:
        model.learn(token, [(), (token % 3,), (token % 3, token)])
    shares = model.distribution(contexts)
    assert shares.sum() == pytest.approx(1) and (shares > 0).all()
    assert [model.probability(token, contexts) for token in range(10)] == pytest.approx(list(shares))


def test_what_depends_on_the_frame_before_is_found_by_order_1_alone() -> None:
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.integers(0, 2, 4000)) % 16
    bits = {order: coded_length([walk[None]], [16], order).bits / 4000 for order in ("order 0", "order 1")}
    assert bits["order 0"] > 3.9 and bits["order 1"] < 1.2


def test_what_depends_on_the_codebook_above_is_found_there() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(0, 16, 4000)
    both = np.stack([first, (first + rng.integers(0, 2, 4000)) % 16])
    bits = {order: coded_length([both], [16, 16], order).bits / 4000 for order in ("order 0", "codebook")}
    assert bits["order 0"] > 7.9 and bits["codebook"] < 5.5
    assert held_out_bits([both[:, :2000], both[:, 2000:]], [16, 16]) / 4000 < 5.6


def test_the_ledger_of_known_codes() -> None:
    rng = np.random.default_rng(3)
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    coded = [Coded("a@1k", "set", f"u{i}", 2.0, Codes(0, rng.choice(4, (1, 1000), p=shares), (4,))) for i in range(4)]
    coded += [Coded("b@6k", "set", "u0", 2.0, Codes(0, payload=(b"12",), payload_bits=16))]
    tokens, stream = ledgers(coded)
    assert tokens.sent == tokens.tokens == 1000
    counts = np.bincount(np.concatenate([one.codes.indices[0] for one in coded[:4] if one.codes.indices is not None]))
    assert tokens.entropy == pytest.approx(500 * entropy(counts, base=2))
    assert tokens.entropy < (tokens.order_0 or 0) < tokens.entropy * 1.02
    assert tokens.held_out == pytest.approx(tokens.entropy, rel=0.02) and tokens.codebook is None
    assert tokens.used == (1.0,) and log2(tokens.perplexity[0]) == pytest.approx(entropy(counts, base=2))
    assert stream.sent == 8 and stream.tokens is None and stream.order_0 is None

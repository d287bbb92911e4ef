"""Bitrate, entropy (against scipy.stats) and utilisation of codes."""

from math import log2

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.codecs import Codes
from evalkit.errors import UndefinedScore
from evalkit.metrics.tokens import BITRATE, ENTROPY, UTILISATION

SIZES = (2016, 1024, 5)
PAYLOAD = Codes(length=160, payload=(b"abc",), payload_bits=21)


def random_codes(seed: int, lengths: list[int], sizes: tuple[int, ...] = SIZES) -> list[Codes]:
    rng = np.random.default_rng(seed)
    return [Codes(n * 100, np.stack([rng.integers(0, size, n) for size in sizes]), sizes) for n in lengths]


def test_bitrate_is_pooled_over_utterances():
    """The mean of the utterances' rates would be (10 + 30) / 2 frames a second, not 60 / 3."""
    codes = random_codes(0, [10, 50])
    assert BITRATE.score(codes, 3.0)["bitrate"] == pytest.approx(20 * (log2(2016) + 10 + log2(5)))


def test_bitrate_of_the_papers_codec():
    codes = random_codes(0, [125], (2016,) * 8)
    assert BITRATE.score(codes, 10.0)["bitrate"] == pytest.approx(1097.7, abs=0.05)


def test_bitrate_counts_a_payload_as_it_is():
    assert BITRATE.score([PAYLOAD, PAYLOAD], 0.02) == {"bitrate": 2100.0}


lengths = st.lists(st.integers(1, 60), min_size=1, max_size=4)


@given(st.integers(0, 2**32 - 1), lengths)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_entropy_equals_scipy_and_keeps_its_bounds(seed, lengths):
    codes = random_codes(seed, lengths)
    rows = ENTROPY.score(codes, 1.0)
    assert list(rows) == ["entropy", "entropy-cb1", "entropy-cb2", "entropy-cb3"]
    tokens = np.concatenate([one.indices for one in codes], axis=1)
    for k, size in enumerate(SIZES):
        counts = np.unique(tokens[k], return_counts=True)[1]
        assert rows[f"entropy-cb{k + 1}"] == pytest.approx(scipy.stats.entropy(counts, base=2), abs=1e-9)
        assert 0 <= rows[f"entropy-cb{k + 1}"] <= min(log2(size), log2(sum(lengths))) + 1e-9
    assert rows["entropy"] == pytest.approx(np.mean([rows[f"entropy-cb{k}"] for k in (1, 2, 3)]))


@given(st.integers(0, 2**32 - 1), lengths)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_utilisation_counts_distinct_entries(seed, lengths):
    codes = random_codes(seed, lengths)
    rows = UTILISATION.score(codes, 1.0)
    tokens = np.concatenate([one.indices for one in codes], axis=1)
    shares = [len(set(row.tolist())) / size for row, size in zip(tokens, SIZES, strict=True)]
    assert rows == pytest.approx(
        {"utilisation": np.mean(shares)} | {f"utilisation-cb{k}": s for k, s in enumerate(shares, 1)}
    )
    assert all(0 < value <= 1 for value in rows.values())


def test_known_extremes():
    every = Codes(8, np.arange(8)[None], (8,))
    one = Codes(8, np.full((1, 8), 3), (8,))
    assert ENTROPY.score([every], 1.0)["entropy-cb1"] == 3
    assert UTILISATION.score([every], 1.0)["utilisation-cb1"] == 1
    assert ENTROPY.score([one], 1.0)["entropy-cb1"] == 0
    assert UTILISATION.score([one], 1.0)["utilisation-cb1"] == 0.125


@pytest.mark.parametrize("metric", [BITRATE, ENTROPY, UTILISATION], ids=lambda m: m.name)
def test_nothing_encoded_is_undefined(metric):
    with pytest.raises(UndefinedScore, match="nothing was encoded"):
        metric.score([], 0.0)


@pytest.mark.parametrize("metric", [ENTROPY, UTILISATION], ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ([PAYLOAD], "no codebooks"),
        ([Codes(10, np.zeros((2, 0), int), (4, 4))], "no tokens were sent"),
        (random_codes(0, [3]) + random_codes(0, [3], (4, 4, 4)), "codebooks differ"),
        ([Codes(10, np.array([[0, 4]]), (4,))], "codebook 1 has 4 entries, the codes 0 to 4"),
        ([Codes(10, np.array([[0], [-1]]), (4, 4))], "codebook 2 has 4 entries"),
    ],
)
def test_undefined(metric, codes, reason):
    with pytest.raises(UndefinedScore, match=reason):
        metric.score(codes, 1.0)

"""A codec that one metric alone ranks high is named; one that all metrics rank alike is not."""

import numpy as np
import pandas as pd
import pytest

from evalkit.reports.outliers import flattered, notes

DIRECTIONS = {"pesq-wb": "up", "pesq-nb-16k": "up", "estoi": "up", "mel-2048-80-ln1p": "down", "dnsmos-ovrl": "up"}


def means(seed: int = 0, noise: float = 0.0) -> pd.DataFrame:
    """Seven codecs, a to g, from the best to the worst by every metric, with some noise in the ranks."""
    rng = np.random.default_rng(seed)
    quality = -np.arange(7.0)[:, None] + noise * rng.standard_normal((7, 5))
    signs = [1.0 if direction == "up" else -1.0 for direction in DIRECTIONS.values()]
    return pd.DataFrame(quality * signs, index=list("abcdefg"), columns=list(DIRECTIONS))


def test_nothing_stands_out_where_all_agree() -> None:
    assert not list(flattered(means(), DIRECTIONS))


def test_a_codec_trained_on_pesq_is_found_by_both_kinds_of_it() -> None:
    table = means()
    table.loc["f", ["pesq-wb", "pesq-nb-16k"]] = 0.5
    found = {(codec, metric): (rank, others) for codec, metric, rank, others in flattered(table, DIRECTIONS)}
    assert set(found) == {("f", "pesq-wb"), ("f", "pesq-nb-16k")}
    assert found["f", "pesq-wb"] == (1, [6, 6, 6])
    labels = {name: name.upper() for name in DIRECTIONS}
    (said,) = notes(table, DIRECTIONS, labels, {("f", "pesq-nb-16k")})
    assert said == "PESQ-WB ranks f 1 of 7, metrics of other kinds rank it 6: it may be tuned to that metric."


@pytest.mark.parametrize("seed", range(20))
def test_small_differences_in_rank_are_no_sign(seed: int) -> None:
    assert len(list(flattered(means(seed, noise=0.4), DIRECTIONS))) == 0


def test_a_place_or_two_among_many_codecs_are_no_sign() -> None:
    """As TAAE's PESQ on the authors' demo page: 8th of 12, between 9th and 12th by the rest."""
    table = pd.DataFrame(
        -np.arange(12.0)[:, None] * [1.0, 1.0, 1.0, -1.0, 1.0], index=list("abcdefghijkl"), columns=list(DIRECTIONS)
    )
    table.loc["k", ["pesq-wb", "pesq-nb-16k"]] = -6.5
    assert not list(flattered(table, DIRECTIONS))
    table.loc["k", ["pesq-wb", "pesq-nb-16k"]] = -4.5
    assert {codec for codec, *_ in flattered(table, DIRECTIONS)} == {"k"}


def test_few_codecs_or_metrics_say_nothing() -> None:
    table = means()
    table.loc["f", "pesq-wb"] = 0.5
    assert list(flattered(table, DIRECTIONS))
    assert not list(flattered(table.iloc[3:], DIRECTIONS))
    assert not list(flattered(table[["pesq-wb", "pesq-nb-16k", "estoi"]], DIRECTIONS))

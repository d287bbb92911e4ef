"""Codecs whose codebooks are residual: the first of them alone, under `codebooks:n`, are the codec at a lower rate."""

from pathlib import Path

import numpy as np
import pytest

from evalkit import testing
from evalkit.baselines import testing as narrow
from evalkit.conditions import load_condition
from evalkit.errors import UsageError
from evalkit.pipeline.choice import choose

RATES = {
    "mimi": ("1.1k", "0.4125k"), "encodec": ("3k", "1.5k"), "dac": ("3k-16khz", "1k-16khz"),
    "speechtokenizer": ("4k", "0.5k"), "moss": ("2k", "0.375k"), "higgs": ("2k", "1k"),
    "xcodec": ("2k-hubert-ls", "0.5k-hubert-ls"), "dualcodec": ("1.225k-12hz", "0.175k-12hz"),
    "lyra": ("9.2k", "3.2k"),
}  # fmt: skip
"""Two rates of the same weights."""
SLOW = ("mimi", "higgs", "xcodec", "dualcodec")


@pytest.mark.parametrize("family", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in RATES])
def test_the_first_codebooks_are_the_codec_at_a_lower_rate(family: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="several of these codecs need transformers")
    high, low = RATES[family]
    folder = narrow.write(family, high, tmp_path / family)
    more, fewer = (choose(f"{family}@{rate}").family.build_from(folder, rate, "cpu") for rate in (high, low))
    assert more.residual
    count = len(fewer.codebook_sizes)
    assert 0 < count < len(more.codebook_sizes)
    dropped = load_condition(f"codebooks:{count}").wrap(more, 0)
    voice = testing.speech(0.25, more.sample_rate)
    codes, expected = dropped.encode(voice), fewer.encode(voice)
    assert np.array_equal(codes.indices, expected.indices) and codes.bits == expected.bits
    audio = dropped.decode(codes)
    assert np.array_equal(audio, fewer.decode(expected))
    assert not np.allclose(audio, more.decode(more.encode(voice)))


def test_codebooks_that_all_are_needed_cannot_be_dropped() -> None:
    with pytest.raises(UsageError, match="needs all codebooks"):
        load_condition("codebooks:1").wrap(choose("nanocodec@1.1k").build(), 0)

"""`NAME@RATE`, bitrates, and the bits of codes."""

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.codecs import Codes
from evalkit.errors import UsageError
from evalkit.pipeline.choice import choose, parse_bitrate


@pytest.mark.parametrize(
    ("text", "value"), [("1.1k", 1100), ("1100", 1100), ("6kbps", 6000), ("0.7K", 700), ("900 bit/s", 900)]
)
def test_bitrates_as_people_write_them(text: str, value: float) -> None:
    assert parse_bitrate(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "k", "fast", "-1k", "nan", "inf", "0"])
def test_what_is_not_a_bitrate_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a number of bit/s"):
        parse_bitrate(text)


def test_a_rate_is_found_however_it_is_written() -> None:
    assert choose("opus@6k") == choose("opus", "6k") == choose("opus@6000") == choose("opus", "6.0kbps")
    assert choose("opus@6k", "12k").rate == "6k", "a rate in the spec wins over --bitrate"
    assert choose("opus").rate == "6k"


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown codec 'opsu'. Did you mean 'opus'\? Known: .*codec2.*pcm"):
        choose("opsu@6k")
    with pytest.raises(UsageError, match=r"opus has no bitrate '7k'. Known: opus@6k, opus@8k, opus@12k"):
        choose("opus@7k")


@given(st.lists(st.integers(2, 70_000), min_size=1, max_size=16), st.integers(0, 50))
def test_bits_are_tokens_times_log2_of_the_size(sizes: list[int], frames: int) -> None:
    codes = Codes(100, np.zeros((len(sizes), frames), np.int64), tuple(sizes))
    assert codes.bits == pytest.approx(sum(log2(size) for size in sizes for _ in range(frames)))


def test_bits_of_a_payload_are_taken_as_counted() -> None:
    assert Codes(100, payload=(b"\x01\x02\x03\x04",), payload_bits=28).bits == 28


def test_indices_need_a_row_for_each_codebook() -> None:
    with pytest.raises(ValueError, match="2 codebooks"):
        Codes(100, np.zeros((3, 5), np.int64), (8, 8))

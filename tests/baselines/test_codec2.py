"""What is particular to Codec 2."""

import numpy as np
import pytest

from evalkit import testing

pytest.importorskip("pycodec2", reason="Codec 2 needs pycodec2")
from evalkit.baselines import codec2
from evalkit.codecs import Codes


def envelope(wav: np.ndarray) -> np.ndarray:
    """Energy in steps of 2.5 ms, smoothed over 20 ms, without its mean."""
    steps = np.square(wav[: len(wav) // 20 * 20]).reshape(-1, 20).mean(axis=1)
    energy = np.sqrt(np.convolve(steps, np.hanning(10), mode="same"))
    return energy - energy.mean()


def test_bits_are_counted_not_bytes() -> None:
    codes = codec2.FAMILY.build("0.7k").encode(np.zeros(8000, np.float32))
    frames = len(codes.payload)
    assert (frames, codes.payload_bits, len(codes.payload[0])) == (26, 26 * 28, 4)


@pytest.mark.parametrize("rate", list(codec2.MODES))
def test_what_is_heard_is_in_time_and_costs_what_it_says(rate: str) -> None:
    codec = codec2.FAMILY.build(rate)
    voice = testing.speech(8.0, codec2.SAMPLE_RATE)
    codes = codec.encode(voice)
    assert codes.bits / 8.0 == pytest.approx(codec2.FAMILY.rates[rate], rel=0.006)  # the delay takes a frame
    decoded = codec.decode(codes)
    assert abs(testing.lag_of(envelope(decoded), envelope(voice), 40)) <= 2  # within 5 ms


def test_the_decoders_noise_is_the_same_each_time() -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
    codec = codec2.FAMILY.build("1.2k")
    codes = codec.encode(noise)
    assert np.array_equal(codec.decode(codes), codec.decode(codes))


def test_a_decoder_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="decoder's process failed"):
        codec2.FAMILY.build("1.2k").decode(Codes(320, payload=(b"\0",), payload_bits=8))

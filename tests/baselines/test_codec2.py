"""What is particular to Codec 2."""

from pathlib import Path

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


@pytest.mark.parametrize("rate", list(codec2.MODES))
def test_the_fields_hold_all_bits_of_a_packet_but_the_spare_ones(rate: str) -> None:
    codec = codec2.FAMILY.build(rate)
    codes = codec.encode(testing.speech(2.0, codec2.SAMPLE_RATE))
    fields = codec.fields(codes)
    assert fields.indices.shape == (len(fields.codebook_sizes), len(codes.payload))
    widths = [size.bit_length() - 1 for size in fields.codebook_sizes]
    for packet, column in zip(codes.payload, fields.indices.T, strict=True):
        text = "".join(f"{index:0{width}b}" for index, width in zip(column, widths, strict=True))
        assert f"{int.from_bytes(packet):0{8 * len(packet)}b}" == text.ljust(8 * len(packet), "0")
    spare = codes.bits / len(codes.payload) - sum(widths)
    assert spare == {2400: 2, 1200: 1}.get(codec.mode, 0)
    assert all(len(np.unique(row)) > 1 for row in fields.indices)


def test_the_fields_are_pitch_energy_and_voicing() -> None:
    """At 3.2 kbit/s: voicing twice, pitch, energy, ten line spectral pairs."""
    codec = codec2.FAMILY.build("3.2k")
    time = np.arange(2 * codec2.SAMPLE_RATE) / codec2.SAMPLE_RATE

    def voiced(pitch: float, level: float) -> np.ndarray:
        pulses = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12))
        return (level * pulses).astype(np.float32)

    def usual(wav: np.ndarray) -> list[int]:
        rows = codec.fields(codec.encode(wav)).indices[:4, 20:80]
        return [int(np.bincount(row).argmax()) for row in rows]

    low, high, loud = usual(voiced(100, 0.02)), usual(voiced(200, 0.02)), usual(voiced(100, 0.2))
    assert low[:2] == high[:2] == loud[:2] == [1, 1]
    assert low[2] != high[2] and low[2] == loud[2] and low[3] != loud[3]
    noise = np.random.default_rng(0).normal(0, 0.05, 2 * codec2.SAMPLE_RATE).astype(np.float32)
    assert usual(noise)[:2] == [0, 0]


def test_token_match_of_fields_is_the_same_from_the_cache(tmp_path: Path) -> None:
    import evalkit
    from evalkit.datasets import load_dataset

    data = load_dataset("builtin", limit=1)

    def matches(output: str) -> dict[str, float]:
        run = evalkit.run("codec2@1.2k", data, "token-match", tmp_path / output, conditions=["again", "noise:20"])
        assert run.rows["reason"].isna().all()
        return run.rows.set_index(["condition", "metric"])["value"].to_dict()

    first = matches("first")
    assert first["again", "token-match"] == 1 and 0 < first["noise:snr=20", "token-match"] < 1
    assert first["noise:snr=20", "token-match-cb1"] > 0.5, "voicing of one frame mostly stays"
    assert matches("second") == first

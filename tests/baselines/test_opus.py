"""What is particular to Opus."""

import numpy as np
import pytest
from pystoi import stoi

from evalkit import testing

pytest.importorskip("av", reason="Opus needs PyAV")
from evalkit.baselines import opus

CODEC = opus.FAMILY.build("6k")


def test_packets_are_of_one_size_and_all_their_bits_are_counted() -> None:
    codes = CODEC.encode(testing.speech(2.0, 48_000))
    frame = opus.FRAME / opus.SAMPLE_RATE
    assert {len(packet) for packet in codes.payload} == {round(6000 * frame / 8)}
    assert codes.bits == 8 * sum(len(packet) for packet in codes.payload)
    assert len(codes.payload) == np.ceil((2.0 + 0.0065) / frame)


def test_more_bits_are_easier_to_understand() -> None:
    voice = testing.speech(3.0, 48_000)
    scores = []
    for rate in ("6k", "8k", "12k"):
        codec = opus.FAMILY.build(rate)
        scores.append(stoi(voice, codec.decode(codec.encode(voice)), 48_000, extended=True))
    assert scores == sorted(scores) and scores[0] > 0.6, scores


def test_the_end_of_an_utterance_is_not_cut_off() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(48_000) / 48_000).astype(np.float32)
    decoded = CODEC.decode(CODEC.encode(tone))
    assert np.sqrt(np.mean(decoded[-480:] ** 2)) > 0.1

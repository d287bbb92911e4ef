"""What is particular to Opus."""

import ctypes
from pathlib import Path

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


@pytest.mark.parametrize("rate", ["6k", "8k", "12k"])
def test_lost_packets_are_concealed_as_libopus_itself_does(rate: str) -> None:
    """Golden: opus_decode of the library inside PyAV, called with no packet, which is its concealment."""
    import av

    found = sorted((Path(av.__file__).parents[1] / "av.libs").glob("libopus*"))
    if not found:
        pytest.skip("PyAV brings no libopus of its own here")
    library = ctypes.CDLL(str(found[0]))
    library.opus_decoder_create.restype = ctypes.c_void_p
    decoder = ctypes.c_void_p(library.opus_decoder_create(opus.SAMPLE_RATE, 1, None))
    codec = opus.FAMILY.build(rate)
    voice = testing.speech(4.0, opus.SAMPLE_RATE)
    codes = codec.encode(voice)
    lost = np.random.default_rng(0).random(len(codes.payload)) < 0.2
    lost[:2] = [True, False]
    pcm = []
    for packet, gone in zip(codes.payload, lost, strict=True):
        samples = (ctypes.c_int16 * opus.FRAME)()
        given = (None, 0) if gone else (packet, len(packet))
        assert library.opus_decode(decoder, *given, samples, opus.FRAME, 0) == opus.FRAME
        pcm.append(np.array(samples))
    skipped = int.from_bytes(codec._header[10:12], "little")
    expected = np.concatenate(pcm)[skipped:][: len(voice)] / 32768
    concealed = codec.decode_lossy(codes, lost)
    assert np.array_equal(concealed, expected.astype(np.float32)) and 5 < lost.sum() < 40
    assert not concealed[: opus.FRAME - skipped].any()
    whole = codec.decode(codes)
    assert np.array_equal(codec.decode_lossy(codes, np.zeros(len(lost), bool)), whole)


def test_concealment_is_what_frame_loss_uses() -> None:
    from evalkit.conditions import load_condition

    voice = testing.speech(4.0, opus.SAMPLE_RATE)
    codes = CODEC.encode(voice)
    own, auto, repeat = (
        load_condition(f"loss:20,conceal={how}").wrap(CODEC, 0).decode(codes) for how in ("own", "auto", "repeat")
    )
    assert np.array_equal(own, auto) and not np.array_equal(own, repeat)

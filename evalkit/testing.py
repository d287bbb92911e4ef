"""Checks that a codec, metric or dataset follows its contract, for the tests of plugins.

from evalkit.testing import check_codec, check_metric

def test_my_codec() -> None:
    check_codec(MyCodec(), bitrate=1100)

def test_my_metric() -> None:
    check_metric(MY_METRIC)
"""

import json
import pickle
from collections.abc import Iterable

import numpy as np

from evalkit.audio import Wave, resample
from evalkit.codecs import BATCH, LEVEL, PADDING, Batched, Codec, CodecInfo, Codes, Inspectable, decoded_shape
from evalkit.datasets import builtin
from evalkit.datasets.checks import check_dataset
from evalkit.metrics.contract import check_metric, example_pair

__all__ = ["check_codec", "check_dataset", "check_metric", "example_pair"]

ANY_RATE = 16_000
"""Hz at which a codec is checked that takes any rate."""
SECONDS = 10.0
"""Of speech for bitrate and alignment: long enough that the padding of the last frame weighs little."""


DEPENDS = 0.02
"""Share of tokens that may change by the way."""


def check_codec(
    codec: Codec,
    bitrate: float | None = None,
    waveform: bool = False,
    tolerance: float = 0.02,
    info: CodecInfo | None = None,
) -> None:
    """Raise AssertionError, which says what is wrong, unless `codec` follows the protocol:

    - its declarations are valid, and its codes agree with them;
    - `decode` returns finite float32 [T] for every length T from one sample up, for speech, silence and full scale;
    - codes and audio are the same each time, whatever was coded in between, and codes can be pickled;
    - the input is not modified;
    - batches, if it supports them, follow the same rules, and equal single runs if it declares that;
    - with `bitrate`: the measured bitrate is the declared one;
    - with `waveform`: input and output are aligned within 1 ms;
    - with `info`: its family's declarations are true, as far as they can be measured.

    Args:
        codec: The codec, opened.
        bitrate: Declared bit/s, compared with those measured on 10 s of speech.
        waveform: Whether it preserves the waveform, so that its alignment can be measured.
        tolerance: Largest relative difference between measured and declared bitrate.
        info: What its family declares: rates, codebooks, side information, and what else tokens depend on.
    """
    assert isinstance(codec, Codec), f"{codec!r} does not follow the protocol evalkit.codecs.Codec"
    check_declaration(codec)
    rate = codec.sample_rate or ANY_RATE
    voice = speech(SECONDS, rate)
    check_lengths(codec, voice)
    check_levels(codec)
    check_repeatable(codec, voice[:rate])
    if isinstance(codec, Batched):
        check_batches(codec, voice)
    if bitrate is not None:
        check_bitrate(codec, bitrate, voice, tolerance)
    if waveform:
        check_alignment(codec, voice)
    if info is not None:
        check_info(codec, info, voice[: 3 * rate])


def check_info(codec: Codec, info: CodecInfo, wav: Wave) -> None:
    """What `info` says is so: of rates and codebooks, side information, and what else tokens depend on."""
    codes, rate = codec.encode(wav), codec.sample_rate or ANY_RATE
    output = decoded_shape(codec, 1, rate)[1]
    for what, said, found in (
        ("sample_rate", info.sample_rate, codec.sample_rate),
        ("frame_rate", info.frame_rate, codec.frame_rate),
        ("codebook_sizes", tuple(info.codebook_sizes), tuple(codec.codebook_sizes)),
        ("output_rate", info.output_rate, output if output != rate else None),
        ("continuous", info.continuous, codes.latents is not None),
        ("extra_bits", info.extra_bits, codes.extra_bits),
        ("causal", info.causal, info.causal if info.causal is None else codec.streaming),
    ):
        assert said == found, f"{codec.name}: its family declares {what} = {said!r}, but the codec has {found!r}"
    if info.depends_on is None:
        return
    for what, share in changed_tokens(codec, wav).items():
        claim = "depend" if what in info.depends_on else "do not depend"
        assert (share > DEPENDS) == (what in info.depends_on), (
            f"{codec.name}: its family declares that tokens {claim} on {what}; {share:.1%} of them changed"
        )


def changed_tokens(codec: Codec, wav: Wave) -> dict[str, float]:
    """Share of the tokens of speech [T] that change where a second of silence follows it, where it is half as loud, or,
    for codecs that take batches, where it shares one. Empty for codecs without tokens.

    Only the first half counts: beyond it, convolutions may see the end. A noise floor is added at -60 dB of full scale,
    since in digital silence the epsilon of a norm may tell the level.
    """
    wav = wav + 1e-3 * np.random.default_rng(0).standard_normal(len(wav)).astype(np.float32)
    before = codec.encode(wav).indices
    if before is None or before.shape[1] < 2:
        return {}
    half, rate = before.shape[1] // 2, codec.sample_rate or ANY_RATE

    def share(after: object) -> float:
        assert isinstance(after, np.ndarray)
        return float((after[:, :half] != before[:, :half]).mean())

    silence = np.zeros(rate, np.float32)
    found = {
        PADDING: share(codec.encode(np.concatenate([wav, silence])).indices),
        LEVEL: share(codec.encode((0.5 * wav).astype(np.float32)).indices),
    }
    if isinstance(codec, Inspectable) and (network := codec.network()).batched and codec.frame_rate:
        import torch

        whole = wav[: len(wav) - len(wav) % round(rate / codec.frame_rate)]
        batch = torch.from_numpy(np.stack([whole, whole[::-1].copy()]))
        device = next(network.module.parameters()).device
        with torch.inference_mode():
            found[BATCH] = share(network.encode(batch.to(device))[0].cpu().numpy())
    return found


def speech(seconds: float, rate: int) -> Wave:
    """Speech of the built-in set, [seconds * rate] at `rate` Hz."""
    wanted = round(seconds * rate)
    parts: list[Wave] = []
    for utterance in builtin.load():
        if sum(map(len, parts)) >= wanted:
            break
        audio = utterance.audio()
        parts.append(resample(audio.wav, audio.sample_rate, rate))
    return np.concatenate(parts)[:wanted]


def check_declaration(codec: Codec) -> None:
    """Name, rates, details and codebooks are what they can be."""
    name = codec.name
    assert isinstance(name, str) and name, f"name must be a string, not {name!r}"
    for what in ("sample_rate", "frame_rate"):
        value = getattr(codec, what)
        assert value is None or value > 0, f"{name}: {what} must be above 0 or None, not {value!r}"
    try:
        json.dumps(dict(codec.details))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{name}: details must be a mapping of JSON values ({error})") from error
    sizes = codec.codebook_sizes
    assert all(size > 1 for size in sizes), f"{name}: every codebook needs two codes or more, not {sizes}"


def check_lengths(codec: Codec, wav: Wave, lengths: Iterable[int] | None = None) -> None:
    """The first T samples of `wav` come back as T samples, or as many at another rate of the output, for every T of
    `lengths`; by default lengths around one sample, one frame and half a second."""
    rate = codec.sample_rate or ANY_RATE
    if lengths is None:
        frame = round(rate / codec.frame_rate) if codec.frame_rate else rate // 50
        lengths = (1, 2, max(1, frame - 1), frame, frame + 1, rate // 2 + 1)
    for length in lengths:
        round_trip(codec, wav[:length], f"{length} samples")


def check_levels(codec: Codec) -> None:
    """Silence, full scale and beyond, and noise come back finite."""
    rate = codec.sample_rate or ANY_RATE
    half = rate // 2  # of a second
    square = np.sign(np.sin(2 * np.pi * 200 * np.arange(half) / rate)).astype(np.float32)
    noise = np.random.default_rng(0).uniform(-1, 1, half).astype(np.float32)
    for what, wav in (
        ("silence", np.zeros(half, np.float32)),
        ("a square wave at full scale", square),
        ("a square wave at twice full scale", 2 * square),
        ("noise at full scale", noise),
    ):
        round_trip(codec, wav, what)


def check_repeatable(codec: Codec, wav: Wave) -> None:
    """Coding `wav` twice gives the same codes and the same audio, though something else is coded in between; and
    codes that were stored decode to the same audio, though something else was encoded last."""
    name = codec.name
    other = wav[::-1].copy()
    first, audio = round_trip(codec, wav, "speech")
    round_trip(codec, other, "speech backwards")
    again, second_audio = round_trip(codec, wav, "speech")
    assert same_codes(first, again), f"{name}: the same audio gave different codes the second time"
    assert np.array_equal(audio, second_audio), f"{name}: the same codes gave different audio the second time"
    stored = pickle.dumps(first)
    codec.encode(other)
    assert np.array_equal(codec.decode(pickle.loads(stored)), audio), (
        f"{name}: stored codes gave different audio; decode may use only the codes"
    )


def check_batches(codec: Codec, wav: Wave) -> None:
    """Utterances of three lengths in one batch: each keeps the protocol and, where the codec says so, is what it is
    alone, but for 1 in 1,000 tokens, and samples, of the same codes, within 1e-4."""
    assert isinstance(codec, Batched)
    name, rate = codec.name, codec.sample_rate or ANY_RATE
    wavs = [wav[:rate], wav[rate // 2 :][: rate // 3], wav[rate // 4 :][: rate // 2 + 1]]
    coded = codec.encode_batch([one.copy() for one in wavs])
    alone = [codec.encode(one) for one in wavs]
    decoded = codec.decode_batch(alone)
    assert len(coded) == len(decoded) == len(wavs), f"{name}: a batch must return one result for each item"
    for one, codes, expected, audio in zip(wavs, coded, alone, decoded, strict=True):
        check_codes(codec, codes, len(one), "one of a batch")
        length, _ = decoded_shape(codec, len(one), rate)
        assert audio.dtype == np.float32 and audio.shape == (length,) and np.isfinite(audio).all(), (
            f"{name}: in a batch, {len(one)} samples were decoded to {audio.dtype} of shape {audio.shape}"
        )
        if codec.batch_equal:
            assert np.abs(audio - codec.decode(expected)).max() <= 1e-4, (
                f"{name}: a batch gives other audio than decoding one by one"
            )
            if codes.indices is None or expected.indices is None:
                assert same_codes(codes, expected), f"{name}: a batch gives other codes than encoding one by one"
            else:
                other = (codes.indices != expected.indices).mean()
                assert other <= 1e-3, f"{name}: {other:.1%} of the tokens differ in a batch"


def check_bitrate(codec: Codec, bitrate: float, wav: Wave, tolerance: float = 0.02) -> None:
    """The bits of `wav` over its duration are within `tolerance` (a part of one) of `bitrate` bit/s."""
    measured = codec.encode(wav).bits * (codec.sample_rate or ANY_RATE) / len(wav)
    assert abs(measured - bitrate) <= tolerance * bitrate, (
        f"{codec.name}: {measured:.1f} bit/s measured, {bitrate:.1f} declared (tolerance {tolerance:.1%})"
    )


def check_alignment(codec: Codec, wav: Wave) -> None:
    """Input and output correlate best, among lags within 100 ms, at a lag within 1 ms."""
    rate = codec.sample_rate or ANY_RATE
    decoded = resample(codec.decode(codec.encode(wav)), decoded_shape(codec, 1, rate)[1], rate)[: len(wav)]
    lag = lag_of(decoded, wav, rate // 10) / rate * 1000
    assert abs(lag) <= 1, f"{codec.name}: the output is {abs(lag):.2f} ms {'late' if lag > 0 else 'early'}"


def lag_of(late: Wave, wav: Wave, reach: int) -> int:
    """Samples by which `late` [T] follows `wav` [T]: the peak of their correlation within +-`reach` samples."""
    size = 2 * len(wav)
    spectrum = np.fft.rfft(late, size) * np.conj(np.fft.rfft(wav, size))
    correlation = np.fft.irfft(spectrum, size)
    return int(np.argmax(np.concatenate([correlation[-reach:], correlation[: reach + 1]]))) - reach


def same_codes(a: Codes, b: Codes) -> bool:
    """Whether two codes say the same, bit for bit."""
    extra = a.extra.keys() == b.extra.keys() and all(np.array_equal(a.extra[name], b.extra[name]) for name in a.extra)
    if a.latents is not None and b.latents is not None:
        return extra and np.array_equal(a.latents, b.latents)
    if a.indices is None or b.indices is None:
        return extra and a.indices is b.indices and a.payload == b.payload
    return extra and np.array_equal(a.indices, b.indices)


def round_trip(codec: Codec, wav: Wave, what: str) -> tuple[Codes, Wave]:
    """Codes and audio of `wav` [T], both checked; `what` names the input in messages."""
    before = wav.copy()
    codes = codec.encode(wav)
    assert np.array_equal(wav, before), f"{codec.name}: encode changed its input ({what})"
    check_codes(codec, codes, len(wav), what)
    audio = codec.decode(codes)
    assert isinstance(audio, np.ndarray) and audio.dtype == np.float32, (
        f"{codec.name}: decode must return a float32 array, not {getattr(audio, 'dtype', type(audio))} ({what})"
    )
    length, _ = decoded_shape(codec, len(wav), codec.sample_rate or ANY_RATE)
    assert audio.shape == (length,), f"{codec.name}: {what} came back as shape {audio.shape}, not {(length,)}"
    assert np.isfinite(audio).all(), f"{codec.name}: {what} came back with NaN or infinite samples"
    return codes, audio


def check_codes(codec: Codec, codes: Codes, length: int, what: str) -> None:
    """The codes of an input of `length` samples agree with what the codec declares."""
    name = codec.name
    assert codes.length == length, f"{name}: codes.length is {codes.length} for {length} samples ({what})"
    assert codes.bits > 0 or codes.latents is not None, f"{name}: {what} took no bits"
    assert codes.codebook_sizes == codec.codebook_sizes, (
        f"{name}: codes have the codebooks {codes.codebook_sizes}, the codec {codec.codebook_sizes}"
    )
    if codes.latents is not None:
        assert codes.latents.dtype == np.float32, f"{name}: latents must be float32, not {codes.latents.dtype}"
        return
    if codes.indices is None:
        assert codes.payload_bits <= 8 * sum(map(len, codes.payload)), (
            f"{name}: {codes.payload_bits} bits are counted, more than the payload holds ({what})"
        )
        return
    assert codes.indices.dtype == np.int64, f"{name}: indices must be int64, not {codes.indices.dtype}"
    for k, (row, size) in enumerate(zip(codes.indices, codes.codebook_sizes, strict=True)):
        assert row.min() >= 0 and row.max() < size, f"{name}: codebook {k} has codes outside 0..{size - 1} ({what})"

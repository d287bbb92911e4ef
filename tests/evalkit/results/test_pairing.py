"""The pairing check: what it measures of a pair, and what it says."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.audio import Wave, resample
from evalkit.datasets import load_dataset
from evalkit.metrics.base import Pair
from evalkit.metrics.load import load_metric
from evalkit.results.pairing import Pairing, align, check_pair, flat_top

RATE = 16_000
SOUND = Pairing(0.0, 1, 0.0, 0.99, 0.98, 0.0, 0.5, 8000.0, 8000.0)
"""A pair with which nothing is wrong."""

few = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def utterances() -> list[Wave]:
    """Eight English utterances of the built-in data at RATE, quiet enough for phases of any kind."""
    return [u.audio().at(RATE).wav * np.float32(0.3) for u in load_dataset("builtin").utterances if u.language == "en"]


def late(wav: Wave, samples: int) -> Wave:
    """`wav`, as long as before, so many samples later; zeros come in."""
    moved = np.zeros_like(wav)
    moved[max(0, samples) : len(wav) + min(0, samples)] = wav[max(0, -samples) : len(wav) - max(0, samples)]
    return moved


def vocoded(wav: Wave, seed: int = 0) -> Wave:
    """`wav` with its short-time magnitudes and with phases of its own, as a vocoder makes it."""
    _, _, spectrum = scipy.signal.stft(wav, RATE, nperseg=512)
    phases = np.random.default_rng(seed).uniform(-np.pi, np.pi, spectrum.shape)
    _, out = scipy.signal.istft(np.abs(spectrum) * np.exp(1j * phases), RATE, nperseg=512)
    return (2 * out[: len(wav)]).astype(np.float32)


def lowpassed(wav: Wave, hertz: float) -> Wave:
    return scipy.signal.sosfiltfilt(scipy.signal.butter(8, hertz, fs=RATE, output="sos"), wav).astype(np.float32)


@few
@given(samples=st.integers(-6400, 6400), decibels=st.floats(-40, 20), polarity=st.sampled_from([1, -1]))
def test_shift_gain_and_polarity_are_recovered(speech: Wave, samples: int, decibels: float, polarity: int) -> None:
    pair = check_pair(speech, np.float32(polarity * 10 ** (decibels / 20)) * late(speech, samples))
    assert pair.lag_ms == pytest.approx(samples / 16, abs=0.02)
    assert pair.polarity == polarity
    assert pair.gain_db == pytest.approx(decibels, abs=0.2)  # frames overlap by whole ones
    assert pair.correlation == pytest.approx(polarity, abs=1e-3)
    assert pair.envelope_correlation > 0.9


@few
@given(samples=st.integers(-6400, 6400), polarity=st.sampled_from([1, -1]), seed=st.integers(0, 99))
def test_lag_of_a_vocoder_is_told_by_the_envelopes(speech: Wave, samples: int, polarity: int, seed: int) -> None:
    pair = check_pair(speech, polarity * late(vocoded(speech, seed), samples))
    assert pair.lag_ms == pytest.approx(samples / 16, abs=5)
    assert pair.polarity == 1  # whether it is inverted cannot be known
    assert not pair.same_waveform
    assert "inverted" not in pair.problems()


@few
@given(samples=st.integers(-800, 800), seed=st.integers(0, 99))
def test_lag_is_that_of_scipy_in_noise(utterances: list[Wave], samples: int, seed: int) -> None:
    speech = utterances[1]
    noise = np.random.default_rng(seed).standard_normal(len(speech)).astype(np.float32)
    decoded = late(speech, samples) + 0.3 * speech.std() * noise
    whole = scipy.signal.correlate(decoded, speech)
    lags = scipy.signal.correlation_lags(len(decoded), len(speech))
    assert check_pair(speech, decoded).lag_ms == pytest.approx(lags[np.argmax(whole)] / 16, abs=0.1)


@few
@given(samples=st.integers(-4000, 4000), rate=st.sampled_from([16_000, 22_050, 24_000]))
def test_align_takes_back_what_was_found(speech: Wave, samples: int, rate: int) -> None:
    decoded = resample(late(speech, samples), RATE, rate)
    pair = check_pair(speech, resample(decoded, rate, RATE))
    aligned = align(decoded, rate, pair.offset_ms)
    assert len(aligned) == len(decoded)
    assert check_pair(speech, resample(aligned, rate, RATE)).offset_ms == 0
    if pair.offset_ms == 0:
        np.testing.assert_array_equal(aligned, decoded)


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(2, [3, 4, 5, 0, 0]), (-2, [0, 0, 1, 2, 3]), (0.4, [1, 2, 3, 4, 5]), (9, [0] * 5), (-9, [0] * 5)],
)
def test_align_moves_by_whole_samples(milliseconds: float, expected: list[int]) -> None:
    wav = np.arange(1, 6, dtype=np.float32)
    wav.flags.writeable = False
    assert align(wav, 1000, milliseconds).tolist() == expected


def test_copy_and_vocoder_pass(utterances: list[Wave]) -> None:
    for speech in utterances:
        assert check_pair(speech, speech) == replace(
            check_pair(speech, speech), lag_ms=0.0, polarity=1, gain_db=0.0, correlation=1.0, envelope_correlation=1.0
        )
        assert check_pair(speech, speech).problems() == ()
        assert check_pair(speech, vocoded(speech)).problems() == ()


def test_other_utterances_are_told(utterances: list[Wave]) -> None:
    others = [utterances[-1], *utterances[:-1]]
    for reference, other in zip(utterances, others, strict=True):
        for decoded in (other, vocoded(other)):
            assert check_pair(reference, decoded).problems() == ("probably another utterance",)
            assert check_pair(reference, decoded).offset_ms == 0


def test_hum_and_offset_make_no_pair(utterances: list[Wave]) -> None:
    first, second = (wav[: 4 * RATE] for wav in utterances[:2])
    hum = (0.2 + 0.2 * np.sin(2 * np.pi * 50 * np.arange(4 * RATE) / RATE)).astype(np.float32)
    assert check_pair(first + hum, second + hum).problems() == ("probably another utterance",)
    assert check_pair(first + hum, first).problems() == ()
    assert check_pair(first, first + hum).problems() == ()


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        (lambda wav: late(wav, 320), ("20.0 ms late",)),
        (lambda wav: late(wav, -320), ("20.0 ms early",)),
        (lambda wav: late(wav, 32), ()),
        (lambda wav: -wav, ("inverted",)),
        (lambda wav: wav / 4, ("12.0 dB quieter",)),
        (lambda wav: wav * np.float32(0.7), ()),
        (lambda wav: -late(wav / 4, 320), ("20.0 ms late", "inverted", "12.1 dB quieter")),
        (lambda wav: lowpassed(wav, 3400), ("band-limited to 3.8 kHz",)),
        (lambda wav: lowpassed(wav, 7000), ()),
        (lambda wav: wav * np.float32(32768), ("90.3 dB louder", "beyond full scale (peak PEAK: int16 range?)")),
        (lambda wav: wav * 0, ("silent",)),
        (lambda wav: wav[:0], ("silent",)),
        (lambda wav: wav[:-3000], ()),
        (lambda wav: np.pad(wav, (0, 3000)), ()),
    ],
)
def test_what_is_said_of_a_copy(speech: Wave, change, problems: tuple[str, ...]) -> None:
    decoded = np.asarray(change(speech), np.float32)
    peak = f"{32768 * np.abs(speech).max():.0f}"
    assert check_pair(speech, decoded).problems() == tuple(problem.replace("PEAK", peak) for problem in problems)


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({}, ()),
        ({"lag_ms": -3.9}, ()),
        ({"lag_ms": 4.0}, ("4.0 ms late",)),
        ({"lag_ms": 9.9, "correlation": 0.3}, ()),
        ({"lag_ms": -10.0, "correlation": -0.3}, ("10.0 ms early",)),
        ({"polarity": -1, "correlation": -0.9}, ("inverted",)),
        ({"gain_db": 6.1}, ("6.1 dB louder",)),
        ({"envelope_correlation": 0.4, "correlation": 0.3, "lag_ms": 300.0}, ("probably another utterance",)),
        ({"envelope_correlation": 0.4}, ()),
        ({"clipped": 0.03}, ("clipped (3 % of samples)",)),
        ({"clipped": 0.0012}, ("clipped (0.12 % of samples)",)),
        ({"clipped": 0.0009}, ()),
        ({"peak": 23000.0}, ("beyond full scale (peak 23000: int16 range?)",)),
        ({"peak": 1.2e9}, ("beyond full scale (peak 1200000000: integer samples?)",)),
        ({"peak": 1.7}, ("beyond full scale (peak 1.7)",)),
        ({"peak": 1.1}, ()),
        ({"bandwidth_hz": 3500.0}, ("band-limited to 3.5 kHz",)),
        ({"bandwidth_hz": 3500.0, "reference_bandwidth_hz": 4000.0}, ()),
        ({"peak": 0.0001}, ("silent",)),
        (
            {"lag_ms": None, "gain_db": None, "correlation": None, "envelope_correlation": None},
            ("the reference is silent",),
        ),
    ],
)
def test_problems(fields: dict, problems: tuple[str, ...]) -> None:
    assert replace(SOUND, **fields).problems() == problems


def test_silent_reference(speech: Wave) -> None:
    pair = check_pair(0 * speech, speech)
    assert pair.problems() == ("the reference is silent",)
    assert pair.lag_ms is None
    assert check_pair(0 * speech, 0 * speech).problems() == ("silent",)


def test_narrow_original_is_not_held_against_the_codec(speech: Wave) -> None:
    narrow = resample(resample(speech, RATE, 8000), 8000, RATE)
    pair = check_pair(narrow, narrow)
    assert pair.reference_bandwidth_hz == pair.bandwidth_hz == 4000
    assert pair.problems() == ()
    assert check_pair(narrow, speech).problems() == ()
    assert check_pair(speech, narrow).problems() == ("band-limited to 4.0 kHz",)


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("fraction", [0.0015, 0.01, 0.05])
def test_clipping_is_counted_at_the_files_rate(speech: Wave, rate: int, fraction: float) -> None:
    decoded = resample(speech, RATE, rate)
    level = np.quantile(np.abs(decoded), 1 - fraction)
    peak, clipped = flat_top(np.clip(decoded, -level, level))
    assert peak == pytest.approx(level)
    assert clipped == pytest.approx(fraction, rel=0.05)
    assert check_pair(speech, speech, peak, clipped).problems() == (f"clipped ({100 * clipped:.2g} % of samples)",)
    assert flat_top(decoded)[1] < 0.0001


def test_flat_top_counts_a_side_only_where_it_is_one() -> None:
    pulses = np.zeros(1000, np.float32)
    pulses[::10] = 0.5
    assert flat_top(pulses) == (0.5, 0.099)  # not the zeros
    assert flat_top(pulses[:0]) == (0.0, 0.0)
    assert flat_top(0 * pulses) == (0.0, 0.0)


def test_json(speech: Wave) -> None:
    pair = check_pair(speech, late(speech, 100))
    assert Pairing.from_dict(json.loads(json.dumps(pair.as_dict(), allow_nan=False))) == pair


def test_same_bits_wherever_the_samples_lie(speech: Wave) -> None:
    decoded = vocoded(speech) + late(speech, 5)
    expected = check_pair(speech, decoded)
    for offset in range(1, 9):
        moved = [np.concatenate([np.zeros(offset, np.float32), wav])[offset:] for wav in (speech, decoded)]
        assert check_pair(*moved) == expected


def test_arrays_may_be_read_only(speech: Wave) -> None:
    reference, decoded = speech.copy(), late(speech, 3)
    reference.flags.writeable = decoded.flags.writeable = False
    assert check_pair(reference, decoded).lag_ms == pytest.approx(3 / 16, abs=0.02)


@pytest.mark.parametrize("length", [1, 100, 256, 300, 3000, 5000])
def test_short_copies_pass(speech: Wave, length: int) -> None:
    start = int(np.argmax(np.abs(speech[: -length or None])))
    wav = speech[start : start + length]
    assert check_pair(wav, wav).problems() == ()


def test_of_long_audio_a_minute_is_looked_at(utterances: list[Wave]) -> None:
    speech = np.concatenate([np.roll(wav, turn) for turn in (0, 7919, 20011, 30011) for wav in utterances])
    speech = speech[: 120 * RATE]  # segments begin at 0, 22, 44, 66, 88 and 110 s
    assert len(speech) == 120 * RATE
    decoded = late(speech, 700)
    pair = check_pair(speech, decoded, *flat_top(decoded))
    assert pair.lag_ms == pytest.approx(700 / 16, abs=0.02)
    changed = decoded.copy()
    changed[11 * RATE : 21 * RATE] = 0
    assert check_pair(speech, changed, *flat_top(decoded)) == pair
    assert check_pair(speech, np.roll(decoded, 40 * RATE)).problems() == ("probably another utterance",)


@pytest.mark.slow
def test_a_check_costs_at_most_a_twentieth_of_pesq_and_stoi(utterances: list[Wave]) -> None:
    """Processor time, pair by pair. Measured on 55 pairs of the authors' demo page: 3.7 %, 9.7 ms of 263 ms."""
    metrics = [load_metric("pesq-wb"), load_metric("stoi")]
    spent = np.zeros((len(utterances), 2))
    for number, speech in enumerate(utterances):
        decoded = late(vocoded(speech), 5)
        check_pair(speech, decoded)  # once, for what is done once
        start = time.process_time()
        for metric in metrics:
            metric.score(Pair(speech, decoded))
        scored = time.process_time()
        check_pair(speech, decoded, *flat_top(decoded))
        spent[number] = scored - start, time.process_time() - scored
    assert spent[:, 1].sum() < 0.05 * spent[:, 0].sum()

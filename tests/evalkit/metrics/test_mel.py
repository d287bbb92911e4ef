"""Mel distance against librosa's filters with librosa's and torch's STFT, and its properties."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import get_window

from evalkit.errors import UndefinedScore
from evalkit.metrics.base import Pair
from evalkit.metrics.mel import DAC, NEMO, OCTAVES, PAPER, MelDistance, hann, mel_filters

CLOSE = 2e-5
"""Relative: float32 against another order of summation."""


def paper_by_librosa(pair: Pair) -> float:
    filters = librosa.filters.mel(sr=16000, n_fft=2048, n_mels=80, norm=None)
    logs = [
        np.log1p(filters @ np.abs(librosa.stft(wav, n_fft=2048, hop_length=512)))
        for wav in (pair.reference, pair.decoded)
    ]
    return float(np.mean(np.abs(logs[0] - logs[1])))


def nemo_by_torch(pair: Pair) -> float:
    """As NeMo computes it: masked L1 over T // hop frames, mean of the resolutions."""
    losses = []
    for n_fft, bands in OCTAVES:
        filters = torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=bands, norm=None))
        window = torch.hann_window(n_fft, periodic=False)
        logs = []
        for wav in (pair.reference, pair.decoded):
            stft = torch.stft(
                torch.from_numpy(wav), n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True
            )
            magnitude = torch.sqrt(torch.view_as_real(stft).pow(2).sum(-1) + 1e-5)
            logs.append(torch.log(filters @ magnitude + 1.0))
        frames = len(pair.reference) // (n_fft // 4)
        losses.append((logs[0] - logs[1]).abs().mean(0)[:frames].sum() / frames)
    return float(torch.stack(losses).mean())


def dac_by_torch(pair: Pair) -> float:
    """As DAC computes it: L1 of clamped log10 mels, sum of the resolutions."""
    loss = 0.0
    for n_fft, bands in OCTAVES:
        filters = torch.from_numpy(librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=bands))
        window = torch.from_numpy(get_window("hann", n_fft)).float()
        logs = [
            (filters @ torch.stft(torch.from_numpy(wav), n_fft, n_fft // 4, window=window, return_complex=True).abs())
            .clamp(1e-5)
            .log10()
            for wav in (pair.reference, pair.decoded)
        ]
        loss += float(torch.nn.functional.l1_loss(*logs))
    return loss


GOLDEN = [(PAPER, paper_by_librosa), (NEMO, nemo_by_torch), (DAC, dac_by_torch)]


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
@pytest.mark.parametrize(("metric", "golden"), GOLDEN, ids=lambda x: getattr(x, "name", ""))
@pytest.mark.parametrize("samples", [1100, 16000, 31999])
def test_equals_the_independent_implementation(metric, golden, samples, pair):
    cut = Pair(pair.reference[:samples], pair.decoded[:samples])
    assert metric.score(cut) == pytest.approx(golden(cut), rel=CLOSE)


@pytest.mark.parametrize(
    ("metric", "golden", "change"),
    [
        (PAPER, paper_by_librosa, {"resolutions": ((1024, 80),)}),
        (PAPER, paper_by_librosa, {"resolutions": ((2048, 81),)}),
        (PAPER, paper_by_librosa, {"periodic": False}),
        (PAPER, paper_by_librosa, {"padding": "reflect"}),
        (PAPER, paper_by_librosa, {"last_frame": False}),
        (PAPER, paper_by_librosa, {"unit_area": True}),
        (PAPER, paper_by_librosa, {"compression": "log10(m)"}),
        (NEMO, nemo_by_torch, {"guard": 0.0}),
        (NEMO, nemo_by_torch, {"last_frame": True}),
        (NEMO, nemo_by_torch, {"periodic": True}),
        (NEMO, nemo_by_torch, {"total": "sum"}),
        (DAC, dac_by_torch, {"padding": "zeros"}),
        (DAC, dac_by_torch, {"unit_area": False}),
        (DAC, dac_by_torch, {"resolutions": OCTAVES[1:]}),
    ],
    ids=lambda x: getattr(x, "name", "") or (str(x) if isinstance(x, dict) else ""),
)
def test_the_comparison_notices_a_changed_formula(metric, golden, change, pair):
    """Otherwise the test above would prove nothing of that parameter."""
    assert replace(metric, **change).score(pair) != pytest.approx(golden(pair), rel=CLOSE)


@pytest.mark.parametrize("unit_area", [False, True])
@pytest.mark.parametrize(("n_fft", "bands"), (*OCTAVES, (2048, 80)))
def test_filters_equal_librosa(n_fft, bands, unit_area):
    expected = librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=bands, norm="slaney" if unit_area else None)
    np.testing.assert_allclose(mel_filters(n_fft, bands, unit_area), expected.T, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("periodic", [False, True])
def test_window_equals_scipy(periodic):
    np.testing.assert_allclose(hann(512, periodic), get_window("hann", 512, fftbins=periodic), atol=1e-7)


waves = arrays(np.float32, st.integers(1, 300), elements=st.floats(-1, 1, width=32))


@given(waves)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_identity_is_exactly_zero(wav):
    assert PAPER.score(Pair(wav, wav.copy())) == 0


@given(waves, st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_is_symmetric_finite_and_not_negative(wav, seed):
    other = np.random.default_rng(seed).uniform(-1, 1, len(wav)).astype(np.float32)
    there, back = PAPER.score(Pair(wav, other)), PAPER.score(Pair(other, wav))
    assert there == back
    assert 0 <= there < np.inf


@pytest.mark.parametrize("metric", [PAPER, NEMO, DAC], ids=lambda m: m.name)
def test_more_noise_is_not_better(metric, speech, noisy):
    clean = speech()
    distances = [metric.score(Pair(clean, noisy(clean, snr))) for snr in (60, 40, 30, 20, 10, 0)]
    assert distances == sorted(distances)
    assert distances[0] < distances[-1]


@pytest.mark.parametrize("metric", [PAPER, NEMO, DAC], ids=lambda m: m.name)
def test_same_input_same_value(metric, pair):
    assert metric.score(pair) == metric.score(pair)


def test_long_audio_in_blocks_equals_one_block(monkeypatch, pair):
    whole = PAPER.score(pair)
    monkeypatch.setattr("evalkit.metrics.mel.BLOCK", 3 * 2048)
    assert PAPER.score(pair) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("metric", [PAPER, NEMO, DAC], ids=lambda m: m.name)
def test_silence_has_a_distance(metric, speech):
    clean = speech(1.0)
    silence = np.zeros_like(clean)
    assert metric.score(Pair(silence, silence)) == 0
    assert metric.score(Pair(clean, silence)) > metric.score(Pair(clean, 0.5 * clean))


def test_does_not_write_into_its_input(pair):
    before = pair.reference.copy(), pair.decoded.copy()
    for metric in (PAPER, NEMO, DAC):
        metric.score(pair)
    np.testing.assert_array_equal(before[0], pair.reference)
    np.testing.assert_array_equal(before[1], pair.decoded)


def zeros(samples: int) -> Pair:
    return Pair(np.zeros(samples, np.float32), np.zeros(samples, np.float32))


@pytest.mark.parametrize(
    ("metric", "samples", "reason"),
    [
        (PAPER, 0, "no samples"),
        (NEMO, 511, "less than one frame"),
        (DAC, 1024, "reflection padding needs half a window"),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_too_short_is_undefined(metric: MelDistance, samples: int, reason: str):
    with pytest.raises(UndefinedScore, match=reason):
        metric.score(zeros(samples))
    assert metric.score(zeros(samples + 1)) == 0

"""LSD, MCD, pitch, voicing and DNSMOS beside independent implementations."""

import numpy as np
import pytest
from scipy.fft import dct

from evalkit.errors import UndefinedScore
from evalkit.metrics import dnsmos, lsd, pitch
from evalkit.metrics.base import Pair, PairMetric
from evalkit.testing import speech as spoken

librosa = pytest.importorskip("librosa", reason="librosa is not installed")
RATE = 16_000


def tone(hz: float, seconds: float = 1.0, harmonics: int = 8) -> np.ndarray:
    time = np.arange(round(RATE * seconds)) / RATE
    wav = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, harmonics + 1))
    return (0.2 * wav).astype(np.float32)


def test_lsd_is_that_of_librosas_spectrogram(pair: Pair) -> None:
    levels = [
        10 * np.log10(np.maximum(np.abs(librosa.stft(wav.astype(float), n_fft=2048, hop_length=512)) ** 2, 1e-8))
        for wav in (pair.reference, pair.decoded)
    ]
    expected = np.mean(np.sqrt(np.mean((levels[0] - levels[1]) ** 2, axis=0)))
    assert lsd.LSD.score(pair) == pytest.approx(expected, rel=1e-5)


def test_half_the_level_is_six_decibels(speech) -> None:
    wav = speech() + 1e-3 * np.random.default_rng(0).standard_normal(len(speech())).astype(np.float32)
    assert lsd.LSD.score(Pair(wav, wav / 2)) == pytest.approx(20 * np.log10(2), abs=0.05)
    assert lsd.MCD.score(Pair(wav, wav / 2)) == pytest.approx(0, abs=0.05)  # level is left out


def test_mcd_is_that_of_librosas_mel_spectrogram(pair: Pair) -> None:
    cepstra = []
    for wav in (pair.reference, pair.decoded):
        mel = librosa.feature.melspectrogram(
            y=wav.astype(float), sr=RATE, n_fft=2048, hop_length=512, n_mels=80, power=1, norm=None, pad_mode="constant"
        )
        cepstra.append(dct(np.log(np.maximum(mel, 1e-5)), axis=0, norm="ortho")[1:14])
    distances = np.sqrt(np.sum((cepstra[0] - cepstra[1]) ** 2, axis=0))
    expected = 10 * np.sqrt(2) / np.log(10) * distances.mean()
    assert lsd.MCD.score(pair) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("hz", [65, 100, 123.4, 200, 311, 390])
def test_pitch_of_a_tone_is_found(hz: float) -> None:
    found = pitch.track(tone(hz))
    assert np.isfinite(found).all() and np.abs(1200 * np.log2(found / hz)).max() < 5  # cent


def test_pitch_is_that_of_librosas_yin() -> None:
    wav = spoken(3.0, RATE)
    found = pitch.track(wav)
    expected = librosa.yin(
        wav.astype(float), fmin=60, fmax=400, sr=RATE, frame_length=1024, hop_length=160,
        center=False, trough_threshold=0.15,
    )  # fmt: skip
    count = min(len(found), len(expected))
    voiced = ~np.isnan(found[:count])
    assert voiced.mean() > 0.2
    off = np.abs(1200 * np.log2(found[:count][voiced] / expected[:count][voiced]))
    assert np.median(off) < 20 and np.mean(off < 100) > 0.9  # librosa's window is 1024 - lag samples, ours always 512


def test_a_melody_that_is_off_by_a_semitone_is_100_cent() -> None:
    pair = Pair(tone(200), tone(200 * 2 ** (1 / 12)))
    assert pitch.F0_RMSE.score(pair) == pytest.approx(100, abs=3)
    assert pitch.VOICING.score(pair) == 0


def test_voicing_counts_frames_of_noise_and_silence() -> None:
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(RATE).astype(np.float32)
    half = tone(150).copy()
    half[RATE // 2 :] = noise[RATE // 2 :]
    assert pitch.VOICING.score(Pair(tone(150), half)) == pytest.approx(50, abs=5)
    quiet = tone(150).copy()
    quiet[RATE // 2 :] = 0
    assert pitch.VOICING.score(Pair(tone(150), quiet)) == pytest.approx(50, abs=5)
    with pytest.raises(UndefinedScore, match="no frame is voiced in both"):
        pitch.F0_RMSE.score(Pair(noise, noise[::-1].copy()))


@pytest.mark.parametrize("metric", [lsd.LSD, lsd.MCD, pitch.F0_RMSE, pitch.VOICING], ids=lambda m: m.name)
def test_identity_symmetry_and_reasons(metric: PairMetric, pair: Pair) -> None:
    assert metric.score(Pair(pair.reference, pair.reference)) == 0
    assert metric.score(pair) == pytest.approx(metric.score(Pair(pair.decoded, pair.reference)))
    assert metric.score(pair) == metric.score(pair) > 0
    empty, silent = np.zeros(0, np.float32), np.zeros(RATE, np.float32)
    for one, reason in ((Pair(empty, empty), "no samples"), (Pair(pair.reference[:RATE], silent), "digital silence")):
        with pytest.raises(UndefinedScore, match=reason):
            metric.score(one)


def test_dnsmos_is_what_speechmos_says(speech) -> None:
    package = pytest.importorskip("speechmos.dnsmos", reason="speechmos is not installed", exc_type=ImportError)
    wav = speech(seconds=2.0)
    expected = package.run(np.clip(2 * wav, -1, 1), sr=RATE)
    scorer = dnsmos.OVRL.open("cpu")
    pair = Pair(wav, 2 * wav)
    for metric in (dnsmos.OVRL, dnsmos.SIG, dnsmos.BAK, dnsmos.P808):
        value = scorer.score(metric, pair)[metric.name]
        assert value == pytest.approx(float(expected[dnsmos.HEADS[metric.head]]), abs=1e-5) and 1 <= value <= 5

"""Mel filters against librosa's."""

import numpy as np
import pytest

from nanocodec.mel import hz_to_mel, mel_to_hz, slaney_edges, triangular_filters

librosa = pytest.importorskip("librosa")


@pytest.mark.parametrize(("sample_rate", "n_fft", "bands"), [(22_050, 2048, 80), (16_000, 512, 40), (612, 64, 10)])
def test_slaney_filters_are_librosas(sample_rate: int, n_fft: int, bands: int) -> None:
    filters = triangular_filters(slaney_edges(sample_rate, bands), sample_rate, n_fft)
    expected = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=bands, norm=None, dtype=np.float64)
    np.testing.assert_allclose(filters, expected, rtol=0, atol=1e-9)


def test_other_scales_use_the_same_triangles() -> None:
    edges = librosa.mel_frequencies(66, fmin=0, fmax=8000, htk=True)
    expected = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=64, htk=True, norm=None, dtype=np.float64)
    np.testing.assert_allclose(triangular_filters(edges, 16_000, 512), expected, rtol=0, atol=1e-9)


def test_the_scale_and_its_inverse() -> None:
    hz = np.array([0.0, 200.0, 999.0, 1000.0, 1001.0, 8000.0])
    mels = np.array([hz_to_mel(float(value)) for value in hz])
    np.testing.assert_allclose(mels, librosa.hz_to_mel(hz), rtol=1e-12)
    np.testing.assert_allclose(mel_to_hz(mels), hz, rtol=1e-12)

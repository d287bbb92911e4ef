"""Reconstruction losses: log-magnitude spectra and log-mel spectra at several resolutions.

All compare ln(1 + GAIN * m), where m is a magnitude normalised by the window's energy, so that white noise of
standard deviation s has m near s at every resolution. ln(1 + x) is linear for what is inaudibly quiet and
logarithmic for what is loud; GAIN puts the bend about 40 dB below full scale.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nanocodec.mel import slaney_edges, triangular_filters

GAIN = 100.0


@functools.cache
def mel_filters(sample_rate: int, n_fft: int, n_mels: int, device: torch.device) -> Tensor:
    """Slaney mel filters [n_mels, n_fft // 2 + 1], each with unit sum, so that a band's value is a mean magnitude.

    They stay on the device: copying them at each call would make a GPU wait, and cannot be part of a CUDA graph.
    """
    filters = triangular_filters(slaney_edges(sample_rate, n_mels), sample_rate, n_fft)
    filters /= np.maximum(filters.sum(1, keepdims=True), 1e-3)
    return torch.tensor(filters, dtype=torch.float32, device=device)


@functools.cache
def _window(n_fft: int, device: torch.device) -> Tensor:
    window = torch.hann_window(n_fft, device=device)
    return window / window.square().sum().sqrt()


def magnitude(audio: Tensor, n_fft: int, hop: int, *, center: bool = True) -> Tensor:
    """STFT magnitude with a periodic Hann window of unit energy.

    Args:
        audio: float [B, T].
        n_fft: window length in samples.
        hop: samples between windows.
        center: pad half a window of zeros at both ends.

    Returns:
        float [B, n_fft // 2 + 1, frames].
    """
    if center:
        audio = F.pad(audio, (n_fft // 2, n_fft // 2))
    frames = audio.unfold(1, n_fft, hop) * _window(n_fft, audio.device)
    spectrum = torch.view_as_real(torch.fft.rfft(frames))
    return (spectrum.square().sum(-1) + 1e-10).sqrt().transpose(1, 2)


def log_mel(audio: Tensor, sample_rate: int, n_fft: int, hop: int, n_mels: int, *, center: bool = True) -> Tensor:
    """ln(1 + GAIN * mel) [B, n_mels, frames] of [B, T]."""
    filters = mel_filters(sample_rate, n_fft, n_mels, audio.device)
    return torch.log1p(GAIN * (filters @ magnitude(audio, n_fft, hop, center=center)))


def frame_aligned_log_mel(audio: Tensor, sample_rate: int, hop: int, n_fft: int, n_mels: int) -> Tensor:
    """Log-mel with exactly T // hop frames, window i centred on the middle of samples i * hop ... (i + 1) * hop."""
    return log_mel(_frame_aligned(audio, hop, n_fft), sample_rate, n_fft, hop, n_mels, center=False)


def frame_aligned_harmonics(audio: Tensor, hop: int, n_fft: int, n_bins: int) -> Tensor:
    """ln(1 + GAIN * m) of the STFT's bins 1 to `n_bins` [B, n_bins, T // hop], windowed as log-mel above."""
    magnitudes = magnitude(_frame_aligned(audio, hop, n_fft), n_fft, hop, center=False)
    return torch.log1p(GAIN * magnitudes[:, 1 : n_bins + 1])


def _frame_aligned(audio: Tensor, hop: int, n_fft: int) -> Tensor:
    side = (n_fft - hop) // 2
    return F.pad(audio, (side, n_fft - hop - side))


class SpectralLoss(torch.nn.Module):
    """Mean absolute difference of log-spectra, averaged over resolutions; STFT bins and mel bands weigh alike.

    Args:
        sample_rate: Hz.
        n_ffts: window lengths in samples; the hop is a quarter of each.
        n_mels: mel bands per window length; 0 leaves the mel term out there.
        mel_weight: factor on the mel terms.
    """

    def __init__(self, sample_rate: int, n_ffts: tuple[int, ...], n_mels: tuple[int, ...], mel_weight: float = 1.0):
        super().__init__()
        self.sample_rate = sample_rate
        self.resolutions = tuple(zip(n_ffts, n_mels, strict=True))
        self.mel_weight = mel_weight

    def forward(self, decoded: Tensor, reference: Tensor) -> Tensor:
        """Loss between excerpts.

        Args:
            decoded: generated audio, float [B, T] in [-1, 1].
            reference: real audio, of the same shape.

        Returns:
            A scalar, from 0.
        """
        total = decoded.new_zeros(())
        both = torch.cat([decoded, reference])
        for n_fft, n_mels in self.resolutions:
            m_dec, m_ref = magnitude(both, n_fft, n_fft // 4).chunk(2)
            total = total + (torch.log1p(GAIN * m_dec) - torch.log1p(GAIN * m_ref)).abs().mean()
            if n_mels:
                filters = mel_filters(self.sample_rate, n_fft, n_mels, decoded.device)
                mel = torch.log1p(GAIN * (filters @ m_dec)) - torch.log1p(GAIN * (filters @ m_ref))
                total = total + self.mel_weight * mel.abs().mean()
        return total / len(self.resolutions)

"""The losses of NanoCodec's training recipe (arXiv:2508.05835), as upstream computes them.

The generator minimises mel_loss + 20 * stft_loss + generator_loss + feature_matching_loss, and the discriminators
minimise discriminator_loss (NeMo `tts/losses/audio_codec_loss.py`, whose Squared variants these are). Every loss is a
float32 scalar and a mean over the batch. Excerpts have one length, so there are no masks.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from nanocodec.mel import slaney_edges, triangular_filters

RESOLUTIONS = (32, 64, 128, 256, 512, 1024, 2048)  # window lengths in samples; the hop is a quarter of each
MEL_DIMS = (5, 10, 20, 40, 80, 160, 320)  # mel bands per window length
STFT_WEIGHT = 20.0  # of stft_loss in the recipe, where all other weights are 1
SQRT_GUARD = 1e-5  # keeps the magnitude's gradient finite where a bin is zero


@functools.cache
def _window(n: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(n, periodic=False, device=device)


@functools.cache
def _filters(sample_rate: int, n_fft: int, n_mels: int, device: torch.device) -> Tensor:
    """Slaney mel filters [n_mels, n_fft // 2 + 1] of peak 1, from 0 to the Nyquist frequency."""
    filters = triangular_filters(slaney_edges(sample_rate, n_mels), sample_rate, n_fft)
    with torch.inference_mode(False):
        return torch.tensor(filters, dtype=torch.float32).to(device)


def _magnitude(audio: Tensor, n_fft: int, pad_mode: str) -> Tensor:
    """STFT magnitude [B, n_fft // 2 + 1, 1 + T // hop] of [B, T]; symmetric Hann window, hop n_fft / 4, centred."""
    window = _window(n_fft, audio.device)
    stft = torch.stft(audio.float(), n_fft, n_fft // 4, window=window, pad_mode=pad_mode, return_complex=True)
    return (torch.view_as_real(stft).square().sum(-1) + SQRT_GUARD).sqrt()


def _log_mel(audio: Tensor, sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """ln(1 + mel) [B, n_mels, T // hop] of [B, T]; zeros around the audio, and upstream's mask drops the last frame."""
    magnitude = _magnitude(audio, n_fft, "constant")[..., : audio.shape[-1] // (n_fft // 4)]
    with torch.autocast(audio.device.type, enabled=False):
        return torch.log1p(_filters(sample_rate, n_fft, n_mels, audio.device) @ magnitude)


def mel_loss(
    decoded: Tensor,
    reference: Tensor,
    sample_rate: int,
    resolutions: Sequence[int] = RESOLUTIONS,
    mel_dims: Sequence[int] = MEL_DIMS,
) -> Tensor:
    """Mean absolute difference of log-mel spectra of two [B, T] batches, averaged over resolutions.

    Args:
        decoded: generated audio, float [B, T] in [-1, 1].
        reference: real audio, of the same shape.
        sample_rate: Hz.
        resolutions: window lengths in samples.
        mel_dims: mel bands per window length.

    Returns:
        A scalar, from 0.
    """
    differences = [
        (_log_mel(decoded, sample_rate, n_fft, n_mels) - _log_mel(reference, sample_rate, n_fft, n_mels)).abs().mean()
        for n_fft, n_mels in zip(resolutions, mel_dims, strict=True)
    ]
    return torch.stack(differences).mean()


def stft_loss(decoded: Tensor, reference: Tensor, resolutions: Sequence[int] = RESOLUTIONS) -> Tensor:
    """Mean absolute difference of ln(1 + |STFT|) of two [B, T] batches, averaged over resolutions.

    Args:
        decoded: generated audio, float [B, T] in [-1, 1].
        reference: real audio, of the same shape.
        resolutions: window lengths in samples.

    Returns:
        A scalar, from 0.
    """
    differences = [
        (torch.log1p(_magnitude(decoded, n_fft, "reflect")) - torch.log1p(_magnitude(reference, n_fft, "reflect")))
        .abs()
        .mean()
        for n_fft in resolutions
    ]
    return torch.stack(differences).mean()


def generator_loss(scores: Sequence[Tensor]) -> Tensor:
    """Least-squares adversarial loss: how far the scores of generated audio are from 1.

    Args:
        scores: one tensor per network, batch first.

    Returns:
        A scalar, from 0.
    """
    return torch.stack([(1 - score.float()).square().mean() for score in scores]).mean()


def discriminator_loss(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """How far the scores of real audio are from 1 and those of generated audio from 0, halved; mean over networks.

    Args:
        real: scores of real audio, one tensor per network, batch first.
        generated: scores of generated audio, likewise.

    Returns:
        A scalar, from 0; 0.25 for networks that cannot tell the two apart.
    """
    losses = [
        ((1 - r.float()).square().mean() + g.float().square().mean()) / 2 for r, g in zip(real, generated, strict=True)
    ]
    return torch.stack(losses).mean()


def feature_matching_loss(real: Sequence[Sequence[Tensor]], generated: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of feature maps, averaged over a network's layers and then over networks.

    Args:
        real: feature maps of real audio, a sequence per network, batch first.
        generated: feature maps of generated audio, likewise.

    Returns:
        A scalar, from 0.
    """
    losses = [
        torch.stack([(r - g).abs().mean(dtype=torch.float32) for r, g in zip(rs, gs, strict=True)]).mean()
        for rs, gs in zip(real, generated, strict=True)
    ]
    return torch.stack(losses).mean()

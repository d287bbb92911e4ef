"""What losses through pretrained networks share: a network that never learns, and audio brought to its sample rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Frozen:
    """A network that never learns, in eval mode whatever surrounds it; gradients pass through to its input.

    It is not a module on purpose: a module that holds it neither trains, saves, averages nor synchronises its weights.
    It follows its input from device to device.

    Args:
        network: put into eval mode and kept from gradients.
    """

    def __init__(self, network: nn.Module):
        self.network = network.eval().requires_grad_(False)

    def __call__(self, audio: Tensor, **options: Any) -> Any:
        return self.network.to(audio.device)(audio, **options)


def resample_fft(audio: Tensor, old: int, new: int) -> Tensor:
    """Audio [..., T] at `old` Hz to [..., T * new / old] at `new` Hz, by cutting or padding its spectrum.

    Exact for what is below both Nyquist frequencies, if the excerpt is taken to repeat itself; differentiable.

    Args:
        audio: float [..., T].
        old: sampling rate of `audio`, in any unit.
        new: wanted, in the same.

    Returns:
        float [..., T * new / old].

    Raises:
        ValueError: T * new / old is not whole; frames of 1764 samples at 22,050 Hz always are at 16 kHz (1280).
    """
    length, rest = divmod(audio.shape[-1] * new, old)
    if rest:
        raise ValueError(f"{audio.shape[-1]} samples at {old} Hz are not a whole number of samples at {new} Hz")
    if old == new:
        return audio
    spectrum = torch.fft.rfft(audio.float())
    shorter = min(length, audio.shape[-1])
    spectrum = spectrum[..., : shorter // 2 + 1]
    if shorter % 2 == 0:  # the bin at the lower Nyquist frequency stands for one or for two bins of the other rate
        spectrum = torch.cat([spectrum[..., :-1], spectrum[..., -1:] * (2.0 if new < old else 0.5)], dim=-1)
    return torch.fft.irfft(spectrum, n=length) * (length / audio.shape[-1])

"""The resampler of torchaudio (`functional.resample`), which some codecs have inside, in torch alone.

A windowed sinc: Hann window over six zero crossings on each side, rolled off at 0.99 of the lower rate's band.
"""

from math import ceil, gcd, pi

import torch
from torch import Tensor
from torch.nn import functional as F

CROSSINGS = 6
ROLLOFF = 0.99


def resample(audio: Tensor, source: int, target: int) -> Tensor:
    """Resample a batch on its own device.

    Args:
        audio: [B, T] at `source` Hz.
        source: Hz.
        target: Hz.

    Returns:
        [B, ceil(T * target / source)].
    """
    step = gcd(source, target)
    old, new = source // step, target // step
    if old == new:
        return audio
    band = min(old, new) * ROLLOFF
    reach = ceil(CROSSINGS * old / band)
    # One filter for each of the `new` samples that fall on `old` ones, which all windows of `old` samples share.
    taps = torch.arange(-reach, reach + old, dtype=audio.dtype, device=audio.device) / old
    phase = torch.arange(0, -new, -1, dtype=audio.dtype, device=audio.device)[:, None] / new
    time = ((phase + taps) * band).clamp(-CROSSINGS, CROSSINGS)
    filters = torch.sinc(time) * (time * pi / CROSSINGS / 2).cos().square() * (band / old)
    samples = F.conv1d(F.pad(audio, (reach, reach + old))[:, None], filters[:, None], stride=old)
    return samples.mT.flatten(1)[:, : ceil(audio.shape[-1] * new / old)]

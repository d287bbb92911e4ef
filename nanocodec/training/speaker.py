"""The speaker-consistency loss: decoded speech should sound like the same person.

The encoder is H/ASP, a ResNet-34 with squeeze-and-excitation and attentive statistics pooling (arXiv:2009.14153), as
YourTTS (arXiv:2112.02418) used it and as NeMo's `ResNetSpeakerEncoder` computes it. Its public weights are
`pytorch_model.bin` of the hub repository Edresson/Speaker_Encoder_H_ASP; state dict names are theirs.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanocodec.errors import CheckpointError, MismatchError, MissingWeightsError
from nanocodec.mel import triangular_filters
from nanocodec.training.frozen import Frozen, resample_fft

RATE = 16_000  # Hz, of the encoder's input
N_FFT, WINDOW, HOP, MELS = 512, 400, 160, 64
PREEMPHASIS = 0.97
REDUCTION = 8  # of the squeeze
ATTENTION = 128  # channels in the middle of the pooling's attention
COMMAND = "hf download Edresson/Speaker_Encoder_H_ASP pytorch_model.bin"


class Excitation(nn.Module):
    """Scale each channel of [B, C, H, W] by a number in (0, 1) that the channels' means decide."""

    def __init__(self, channels: int):
        super().__init__()
        squeezed = channels // REDUCTION
        self.fc = nn.Sequential(nn.Linear(channels, squeezed), nn.ReLU(), nn.Linear(squeezed, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean(dim=(2, 3)))[:, :, None, None]


class Block(nn.Module):
    """A residual block of two 3 x 3 convolutions; the first is normalised after its ReLU, not before."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = Excitation(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.bn1(F.relu(self.conv1(x)))
        return F.relu(self.se(self.bn2(self.conv2(hidden))) + self.downsample(x))


class SpeakerEncoder(nn.Module):
    """Audio [B, T] at 16 kHz to embeddings [B, size], not normalised.

    Args:
        blocks: residual blocks per stage; every stage but the first halves both time and frequency.
        channels: per stage.
        size: of an embedding.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self, blocks: Sequence[int] = (3, 4, 6, 3), channels: Sequence[int] = (32, 64, 128, 256), size: int = 512
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels[0], 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                Block(narrow, wide, 1 if stage == 0 else 2), *(Block(wide, wide, 1) for _ in range(blocks[stage] - 1))
            )
            for stage, (narrow, wide) in enumerate(pairwise((channels[0], *channels)))
        )
        width = channels[-1] * MELS // 8
        self.attention = nn.Sequential(
            nn.Conv1d(width, ATTENTION, 1), nn.ReLU(), nn.BatchNorm1d(ATTENTION), nn.Conv1d(ATTENTION, width, 1)
        )
        self.fc = nn.Linear(2 * width, size)
        mels = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), MELS + 2)  # HTK's scale
        filters = triangular_filters(700 * (10 ** (mels / 2595) - 1), RATE, N_FFT)
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), persistent=False)
        self.register_buffer("window", torch.hamming_window(WINDOW), persistent=False)

    def features(self, audio: Tensor) -> Tensor:
        """Log-mel spectrum [B, 64, 1 + T // 160], each band with mean 0 and variance 1 over time; in float32."""
        audio = audio.float()
        previous = torch.cat([audio[:, 1:2], audio[:, :-1]], dim=1)
        sharpened = audio - PREEMPHASIS * previous
        stft = torch.stft(sharpened, N_FFT, HOP, WINDOW, self.window, return_complex=True)
        with torch.autocast(audio.device.type, enabled=False):
            mel = self.filters @ torch.view_as_real(stft).square().sum(-1)
            return F.instance_norm((mel + 1e-6).log())

    def forward(self, audio: Tensor) -> Tensor:
        """Audio float [B, T] in [-1, 1] at 16 kHz to embeddings [B, size]."""
        x = self.bn1(F.relu(self.conv1(self.features(audio)[:, None])))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x)))).flatten(1, 2)
        weight = self.attention(x).float().softmax(dim=2)
        x = x.float()
        mean = (x * weight).sum(2)
        spread = ((x.square() * weight).sum(2) - mean.square()).clamp(min=1e-5).sqrt()
        return self.fc(torch.cat([mean, spread], dim=1))

    def load(self, path: Path | str) -> SpeakerEncoder:
        """Read the public checkpoint; never runs its code.

        Args:
            path: a file by `torch.save` whose "model" is a state dict.

        Returns:
            This encoder.

        Raises:
            CheckpointError: a missing file, one of another kind, or tensors that do not fit.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            found: dict[str, Tensor] = content["model"]
            own = self.state_dict()
            missing = [name for name in own if name not in found]
            wrong = [name for name in own if name in found and found[name].shape != own[name].shape]
        except FileNotFoundError as error:
            raise MissingWeightsError(f"{path}: no such file; the speaker encoder comes with `{COMMAND}`") from error
        except (RuntimeError, OSError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path}: not a speaker encoder's checkpoint; fetch one with `{COMMAND}`") from error
        if missing or wrong:
            raise MismatchError(path, "the speaker encoder", missing, [], wrong)
        self.load_state_dict({name: found[name] for name in own})
        return self


class SpeakerConsistencyLoss:
    """-alpha * cos(embedding of the real audio, embedding of the decoded audio), mean over the batch.

    Args:
        encoder: maps audio [B, T] at 16 kHz to [B, size]; frozen here.
        sample_rate: of the audio, Hz; `resample_fft` says which lengths fit.
        alpha: weight. 0.1 is reported for NanoCodec (arXiv:2508.05835).
    """

    def __init__(self, encoder: nn.Module, sample_rate: int, alpha: float = 0.1):
        self.encoder = Frozen(encoder)
        self.sample_rate = sample_rate
        self.alpha = alpha

    def __call__(self, decoded: Tensor, reference: Tensor) -> Tensor:
        """Loss between excerpts.

        Args:
            decoded: generated audio, float [B, T] in [-1, 1].
            reference: real audio, of the same shape.

        Returns:
            A scalar in [-alpha, alpha].
        """
        with torch.no_grad():
            target = self.encoder(resample_fft(reference, self.sample_rate, RATE))
        embedding = self.encoder(resample_fft(decoded, self.sample_rate, RATE))
        return -self.alpha * F.cosine_similarity(target.float(), embedding.float()).mean()

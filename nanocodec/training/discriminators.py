"""The discriminators of the adversarial training recipe.

Three kinds, which `Discriminators` runs side by side: periods of the waveform (HiFi-GAN, arXiv:2010.05646), bands of
its complex STFT at several resolutions (DAC, arXiv:2306.06546, with EnCodec's layers), and the hidden states of a
speech language model (StyleTTS 2, arXiv:2306.07691). NanoCodec (arXiv:2508.05835) names the kinds; the STFT windows and
bands it used are not public, so the defaults are DAC's.

All take audio [B, T] and return (scores, feature maps) of that one batch: a list with one score tensor per network and
a list of lists of layer outputs, batch first. Items never meet, so real and generated audio may share a batch.
Attribute names equal upstream's (NeMo `tts/modules/audio_codec_modules.py`), so that state dicts match.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from nanocodec.training.frozen import Frozen, resample_fft

SLOPE = 0.1  # of the leaky ReLUs
SLM_RATE = 16_000  # Hz, of WavLM's input
NARROWEST = 17  # STFT bins: fewer, and the last wide kernel reflects past the band's end

DiscriminatorOutput = tuple[list[Tensor], list[list[Tensor]]]  # scores, and feature maps by network


class Conv2d(nn.Module):
    """Weight-normed convolution, padded by reflection; the stride alone changes the size.

    Args:
        in_channels: I.
        out_channels: O.
        kernel: height and width, odd.
        stride: along height and width.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv = weight_norm(nn.Conv2d(in_channels, out_channels, kernel, stride, padding, padding_mode="reflect"))

    def forward(self, x: Tensor) -> Tensor:
        """[B, I, H, W] to [B, O, ceil(H / stride), ceil(W / stride)]."""
        return self.conv(x)


class _ScoredConvs(nn.Module):
    """Convolutions with leaky ReLUs and a last one that scores; [B, C, T, W] to a score [B, W', T'] and all outputs."""

    conv_layers: nn.ModuleList
    conv_post: Conv2d

    def score(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = []
        for layer in self.conv_layers:
            x = F.leaky_relu(layer(x), SLOPE)
            maps.append(x)
        last = self.conv_post(x)
        return last[:, 0].transpose(1, 2), [*maps, last]


class PeriodDiscriminator(_ScoredConvs):
    """Every `period`-th sample beside its successors: kernels reach over time only, strides are 3 but for the last.

    Audio [B, T] to a score [B, period, T / period / 3^(n-1)] and n + 1 feature maps [B, channels, time, period].

    Args:
        period: samples.
        channels: of the n convolutions.
    """

    def __init__(self, period: int, channels: Sequence[int] = (32, 128, 512, 1024, 1024)):
        super().__init__()
        self.period = period
        strides = [3] * (len(channels) - 1) + [1]
        self.conv_layers = nn.ModuleList(
            Conv2d(narrow, wide, (5, 1), (stride, 1))
            for narrow, wide, stride in zip((1, *channels[:-1]), channels, strides, strict=True)
        )
        self.conv_post = Conv2d(channels[-1], 1, (3, 1))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        audio = F.pad(audio[:, None], (0, -audio.shape[-1] % self.period), "reflect")
        return self.score(audio.unflatten(2, (-1, self.period)))


class MultiPeriodDiscriminator(nn.Module):
    """One `PeriodDiscriminator` per period.

    Args:
        periods: samples.
        channels: of the convolutions of each.
    """

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), channels: Sequence[int] = (32, 128, 512, 1024, 1024)):
        super().__init__()
        self.discriminators = nn.ModuleList(PeriodDiscriminator(period, channels) for period in periods)

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        results = [discriminator(audio) for discriminator in self.discriminators]
        return [score for score, _ in results], [maps for _, maps in results]


class STFTDiscriminator(_ScoredConvs):
    """EnCodec's layers without dilation: spectrum [B, 2, T, F] to a score [B, F / 8, T] and 6 feature maps.

    Args:
        channels: of every convolution.
    """

    def __init__(self, channels: int = 32):
        super().__init__()
        strides = (1, 2, 2, 2)
        self.conv_layers = nn.ModuleList(
            Conv2d(channels if i else 2, channels, (3, 9), (1, stride)) for i, stride in enumerate(strides)
        )
        self.conv_layers.append(Conv2d(channels, channels, (3, 3)))
        self.conv_post = Conv2d(channels, 1, (3, 3))

    def forward(self, spectrum: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.score(spectrum)


class MultiBandSTFTDiscriminator(nn.Module):
    """One `STFTDiscriminator` per band of the complex STFT, computed in float32 with a hop of n_fft / 4.

    Args:
        n_fft: window length in samples.
        bands: (start, end) as shares of the n_fft / 2 + 1 bins.
        channels: of every convolution.
    """

    window: Tensor

    def __init__(self, n_fft: int, bands: Sequence[Sequence[float]], channels: int = 32):
        super().__init__()
        self.n_fft = n_fft
        bins = n_fft // 2 + 1
        self.bands = [(int(start * bins), int(end * bins)) for start, end in bands]
        if any(end - start < NARROWEST for start, end in self.bands):
            raise ValueError(f"n_fft {n_fft}: every band needs {NARROWEST} of the {bins} bins, got {self.bands}")
        self.register_buffer("window", torch.hann_window(n_fft, periodic=False))
        self.discriminators = nn.ModuleList(STFTDiscriminator(channels) for _ in bands)

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        stft = torch.stft(
            audio.float(), self.n_fft, self.n_fft // 4, window=self.window, normalized=True, return_complex=True
        )
        spectrum = torch.view_as_real(stft).permute(0, 3, 2, 1).to(audio.dtype)
        results = [
            discriminator(spectrum[..., start:end])
            for (start, end), discriminator in zip(self.bands, self.discriminators, strict=True)
        ]
        return [score for score, _ in results], [maps for _, maps in results]


class Discriminators(nn.Module):
    """Several discriminators as one: their scores and feature maps in order.

    Args:
        discriminators: each from audio [B, T] to scores and feature maps.
        gain: factor on the audio.
    """

    def __init__(self, discriminators: Sequence[nn.Module], gain: float = 1.0):
        super().__init__()
        self.discriminators = nn.ModuleList(discriminators)
        self.gain = gain

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        audio = self.gain * audio
        scores: list[Tensor] = []
        maps: list[list[Tensor]] = []
        for discriminator in self.discriminators:
            more_scores, more_maps = discriminator(audio)
            scores += more_scores
            maps += more_maps
        return scores, maps


class MultiResolutionSTFTDiscriminator(Discriminators):
    """One `MultiBandSTFTDiscriminator` per window length; arguments as there."""

    def __init__(self, resolutions: Sequence[int], bands: Sequence[Sequence[float]], channels: int = 32):
        super().__init__([MultiBandSTFTDiscriminator(n_fft, bands, channels) for n_fft in resolutions])


PINNED = {"microsoft/wavlm-base-plus": "4c66d4806a428f2e922ccfa1a962776e232d487b"}
"""Commits of hub repositories that stand for `main`."""


class SLMDiscriminator(nn.Module):
    """A convolutional head that scores the hidden states of a frozen WavLM at 16 kHz.

    The head alone learns and is saved. Unlike upstream's, WavLM stays in eval mode during training, so that neither
    its dropout nor its SpecAugment masks come between the two.

    Args:
        sample_rate: of the audio, Hz; `resample_fft` says which lengths fit.
        name: a folder or a hub repository with a WavLM for transformers' `WavLMModel`.
        revision: commit of the hub repository; main is the one in `PINNED`, else its newest.
        channels: of the head's first layer; the others have 2 and 4 times as many.
    """

    def __init__(
        self,
        sample_rate: int,
        name: str = "microsoft/wavlm-base-plus",
        revision: str = "main",
        channels: int = 64,
    ):
        super().__init__()
        try:
            from transformers import WavLMModel
        except (ImportError, OSError) as error:  # OSError: it meets a torchaudio that fits another torch
            raise ImportError(
                f"the SLM discriminator needs transformers ({error}): pip install 'nanocodec-evalkit[models]'"
            ) from error
        self.sample_rate = sample_rate
        revision = PINNED.get(name, revision) if revision == "main" else revision
        wavlm: Any = WavLMModel.from_pretrained(name, revision=revision, dtype=torch.float32)
        self.slm_model = Frozen(wavlm)
        states = (wavlm.config.num_hidden_layers + 1) * wavlm.config.hidden_size
        widths = (channels, 2 * channels, 4 * channels, 4 * channels)
        self.pre = weight_norm(nn.Conv1d(states, channels, 1))
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv1d(narrow, wide, 5, padding=2)) for narrow, wide in pairwise(widths)
        )
        self.conv_post = weight_norm(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        resampled = resample_fft(audio, self.sample_rate, SLM_RATE)
        states = self.slm_model(resampled, output_hidden_states=True).hidden_states
        x = self.pre(torch.cat(states, dim=2).transpose(1, 2))
        maps = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            maps.append(x)
        return [self.conv_post(x)], [maps]


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminators to train against, and how wide; plain data for YAML.

    Attributes:
        periods: of the waveform, in samples; empty leaves that kind out.
        period_channels: per convolution.
        resolutions: STFT windows in samples, hop a quarter of each; empty leaves that kind out.
        bands: (start, end) as shares of the STFT's bins.
        stft_channels: of every convolution there.
        slm: folder or hub repository of a WavLM; None leaves that kind out.
        slm_revision: commit of that repository; main is the one in `PINNED`, else its newest.
        slm_channels: of the first convolution there.
        gain: factor on the audio, real and generated; 1 is the paper's. Fresh weights learn nothing for hundreds of
            steps from excerpts at -24 dBFS.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    resolutions: tuple[int, ...] = (2048, 1024, 512)
    bands: tuple[tuple[float, float], ...] = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
    stft_channels: int = 32
    slm: str | None = None
    slm_revision: str = "main"
    slm_channels: int = 64
    gain: float = 1.0

    @classmethod
    def small(cls) -> DiscriminatorConfig:
        """A pair for a CPU, which costs about as much as the codec of 4 M parameters.

        That is 0.19 CPU seconds per second of audio and generator step, if the discriminators learn at every second
        one; the default pair costs 3.6, and WavLM 1.1 more.
        """
        return cls(
            period_channels=(8, 16, 32, 64, 64),
            bands=((0.0, 0.1), (0.1, 0.4), (0.4, 1.0)),
            stft_channels=8,
            gain=16.0,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DiscriminatorConfig:
        """A config from YAML's lists and numbers; keys left out keep their defaults.

        Raises:
            ValueError: an unknown key, or a value that describes no discriminator.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(data) - set(known)):
            raise ValueError(f"discriminators: unknown key {unknown[0]!r}; known: {', '.join(known)}")
        config = cls(**{key: _tuples(value) for key, value in data.items()})
        config.validate()
        return config

    def validate(self) -> None:
        """Raise ValueError where a value describes no discriminator."""
        if not (self.periods or self.resolutions or self.slm):
            raise ValueError("discriminators: periods, resolutions and slm are all empty; name at least one")
        for name in ("periods", "period_channels", "resolutions"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or any(type(value) is not int or value < 1 for value in values):
                raise ValueError(f"discriminators: {name} must be a list of positive whole numbers, got {values!r}")
        for name in ("stft_channels", "slm_channels"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ValueError(f"discriminators: {name} must be a positive whole number, got {getattr(self, name)!r}")
        if type(self.gain) not in (int, float) or not 0 < self.gain < math.inf:
            raise ValueError(f"discriminators: gain must be a positive number, got {self.gain!r}")
        if self.periods and not self.period_channels:
            raise ValueError("discriminators: period_channels is empty")
        for band in self.bands:
            if not (isinstance(band, tuple) and len(band) == 2 and 0 <= band[0] < band[1] <= 1):
                raise ValueError(f"discriminators: a band is [start, end] within 0 and 1, got {band!r}")
        if self.resolutions and not self.bands:
            raise ValueError("discriminators: bands is empty")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def build_discriminators(config: DiscriminatorConfig, sample_rate: int) -> Discriminators:
    """The networks that `config` describes, for audio at `sample_rate` Hz, with torch's initial weights.

    Raises:
        ValueError: the config describes none, or an STFT band is too narrow.
        ImportError: an SLM without transformers.
    """
    config.validate()
    networks: list[nn.Module] = []
    if config.periods:
        networks.append(MultiPeriodDiscriminator(config.periods, config.period_channels))
    if config.resolutions:
        networks.append(MultiResolutionSTFTDiscriminator(config.resolutions, config.bands, config.stft_channels))
    if config.slm is not None:
        networks.append(SLMDiscriminator(sample_rate, config.slm, config.slm_revision, config.slm_channels))
    return Discriminators(networks, config.gain)

"""What is trained besides the discriminators: the codec, and auxiliary heads that help it to learn fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nanocodec.config import CodecConfig
from nanocodec.model import NanoCodec
from nanocodec.training.config import AuxiliaryWeights, ConfigError, TrainConfig
from nanocodec.training.frozen import resample_fft
from nanocodec.training.loudness import LoudnessLoss
from nanocodec.training.paper_losses import mel_loss, stft_loss
from nanocodec.training.spectral import SpectralLoss, frame_aligned_harmonics, frame_aligned_log_mel

HEAD_STAGES = 3  # of the decoder, whose outputs heads read
HEAD_MELS = 80
HEAD_BINS = 96  # of 10.8 Hz each, so up to 1 kHz
WAVE_WINDOWS = ((128, 64, 32), (512, 256, 128, 64))  # samples at the rates of the decoder's second and third stage
LATENT_SPREAD = 0.9  # tanh of a Gaussian this wide is close to uniform


@torch.no_grad()
def _assign(module: nn.Module, name: str, value: Tensor) -> None:
    """Set a parameter, through its weight normalisation where it has one."""
    if parametrize.is_parametrized(module, name):
        setattr(module, name, value)
    else:
        getattr(module, name).copy_(value)


def initialize(model: NanoCodec, generator: torch.Generator) -> None:
    """Draw variance-preserving weights; residual branches start small, so a layer starts near the identity.

    Args:
        model: changed in place, weight-normed or not.
        generator: drawn from.
    """
    gains = {"audio_encoder.pre_conv.conv": 16.0, "audio_decoder.post_conv.conv": 0.05}  # speech has an RMS near 1/16
    for name, conv in model.named_modules():
        if isinstance(conv, nn.Conv1d | nn.ConvTranspose1d):
            fan_in = conv.weight[0].numel() if isinstance(conv, nn.Conv1d) else 4  # 2 channels x 2 frames
            gain = 0.3 if ".skip_conv." in name else math.sqrt(2) if ".input_conv." in name else 1.0
            gain = gains.get(name, gain) / math.sqrt(fan_in)
            _assign(conv, "weight", torch.empty(conv.weight.shape).normal_(0, gain, generator=generator))
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)


@torch.no_grad()
def copy_weights(source: NanoCodec, target: NanoCodec) -> None:
    """Give `target`, weight-normed or not, the weights of the folded `source`.

    A wider target then gives the source's tokens and samples: what the old channels read of the new ones is 0, and
    what the new ones read is left as it was (after Net2Net, Chen et al. 2016, arXiv:1511.05641).

    Args:
        source: folded.
        target: changed in place.

    Raises:
        ConfigError: they differ in more than their widths, or the target is narrower, or the source's decoder ends on
            an odd number of channels, whose middle one has no place in a wider one.
    """
    widths = [(c.encoder.base_channels, c.decoder.base_channels) for c in (source.config, target.config)]
    same = _without_widths(source.config) == _without_widths(target.config)
    if not same or any(m < n for n, m in zip(*widths, strict=True)):
        raise ConfigError(
            f"{source.config.name} cannot start {target.config.name}: only the widths (base_channels of encoder and "
            f"decoder) may differ, and only increase; here {widths[0]} would become {widths[1]}"
        )
    if widths[0] != widths[1] and widths[0][1] >> len(source.config.strides) & 1:
        raise ConfigError(
            f"{source.config.name} cannot start a wider codec: its decoder ends on an odd number of channels"
        )
    for name, old in source.named_parameters():
        path, _, leaf = name.rpartition(".")
        module = target.get_submodule(path)
        new = getattr(module, leaf).detach().clone()
        sizes = list(zip(old.shape, new.shape, strict=True))
        if leaf == "alpha":
            places = [torch.arange(n) for n, _ in sizes]
        else:  # half-snake treats the halves of its channels apart: what was in the second stays there
            places = [torch.arange(n) + (torch.arange(n) >= n // 2) * (m // 2 - n // 2) for n, m in sizes]
        if leaf == "weight" and isinstance(module, nn.Conv1d):
            new[places[0]] = 0
        elif leaf == "weight" and module.groups == 1:  # transposed: input channels first
            new[:, places[1]] = 0
        new[torch.meshgrid(*places, indexing="ij")] = old
        _assign(module, leaf, new)


def _without_widths(config: CodecConfig) -> CodecConfig:
    return replace(
        config,
        name="",
        note="",
        encoder=replace(config.encoder, base_channels=0),
        decoder=replace(config.decoder, base_channels=0),
    )


@torch.no_grad()
def fold_standardization(codec: NanoCodec, audio: Tensor) -> None:
    """Scale and shift the encoder's last layer so that its latents are standardized without help.

    Averaged weights need statistics of their own: their activations are smaller than those of any single step.

    Args:
        codec: folded; changed in place.
        audio: float [B, T] in [-1, 1], speech like that of training.
    """
    latent, _ = codec.encode_latent(audio)
    conv = codec.audio_encoder.post_conv.conv
    assert conv.bias is not None
    scale = LATENT_SPREAD / (latent.std(dim=(0, 2)) + 1e-5)
    conv.bias.sub_(latent.mean(dim=(0, 2))).mul_(scale)
    conv.weight.mul_(scale[:, None, None])


class AuxiliaryHeads(nn.Module):
    """Linear heads that read simple targets off inner stages; their errors are losses, and they are dropped at export.

    Encoder and the decoder's first stage: log-mel spectrum, and the fine spectrum below 1 kHz, at the rate before the
    encoder's last stride. The decoder's second and third stages: the waveform below half their rate. So every stage
    has a short, smooth path for gradients and a share of the work: formants and pitch first, then the waveform from
    coarse to fine.

    Args:
        config: of the codec, which needs at least three stages.
    """

    def __init__(self, config: CodecConfig):
        super().__init__()
        self.sample_rate = config.sample_rate
        width, out = config.encoder.base_channels, config.decoder.base_channels
        rates = config.strides[::-1]
        self.hop = config.hop // rates[0]
        self.wave_hops = (self.hop // rates[1], self.hop // rates[1] // rates[2])
        n_targets = HEAD_MELS + HEAD_BINS
        self.encoder = nn.Conv1d(width * 2 ** (len(rates) - 1), n_targets, 1)
        self.decoder = nn.Conv1d(out // 2, n_targets, 1)
        self.waves = nn.ModuleList([nn.Conv1d(out // 4, 1, 1), nn.Conv1d(out // 8, 1, 1)])
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        self.spectral = nn.ModuleList(
            SpectralLoss(config.sample_rate // hop, windows, (0,) * len(windows))
            for hop, windows in zip(self.wave_hops, WAVE_WINDOWS, strict=True)
        )

    def forward(
        self, audio: Tensor, encoded: Tensor | None, stages: list[Tensor], weights: AuxiliaryWeights
    ) -> dict[str, tuple[float, Tensor]]:
        """Weight and loss by name.

        Args:
            audio: float [B, T] in [-1, 1], whole frames.
            encoded: the encoder's features before its last stride; None where the encoder is frozen.
            stages: outputs of the decoder's first three stages.
            weights: factors.
        """
        losses = {}
        mel = frame_aligned_log_mel(audio, self.sample_rate, self.hop, 1024, HEAD_MELS)
        harmonics = frame_aligned_harmonics(audio, self.hop, 2048, HEAD_BINS)
        for side, head, features in (("decoder", self.decoder, stages[0]), ("encoder", self.encoder, encoded)):
            if features is not None:
                made_mel, made_harmonics = head(features).split([HEAD_MELS, HEAD_BINS], dim=1)
                losses[f"{side}_mel"] = (weights.mel, (made_mel - mel).abs().mean())
                losses[f"{side}_harmonics"] = (weights.harmonics, (made_harmonics - harmonics).abs().mean())
        for hop, read, spectral, features in zip(self.wave_hops, self.waves, self.spectral, stages[1:], strict=True):
            wave, made = resample_fft(audio, hop, 1), read(features)[:, 0]
            error = (made - wave).abs().mean(1) / (wave.abs().mean(1) + 1e-3)
            losses[f"wave_{hop}"] = (weights.waveform, error.mean())
            losses[f"wave_spectral_{hop}"] = (weights.spectral, spectral(made, wave))
        return losses


class ForwardOutput(NamedTuple):
    """One forward pass: total loss without the adversarial ones, its parts, and what the loop needs besides.

    Attributes:
        decoded: audio [B, T] before the clamp, None where the phase trains no waveform.
        codes: int [B, K, N].
        latent: the raw latent [B, D, N], detached.
    """

    loss: Tensor
    parts: dict[str, Tensor]
    decoded: Tensor | None
    codes: Tensor
    latent: Tensor


class TrainingModel(nn.Module):
    """The codec, its auxiliary heads, and the running statistics of its latent.

    Args:
        config: of the run.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: TrainConfig):
        super().__init__()
        self.config = config
        self.codec = NanoCodec(config.model)
        if not config.weight_norm:
            self.codec.fold()
        self.heads = AuxiliaryHeads(config.model) if config.auxiliary_heads else None
        self.register_buffer("latent_mean", torch.zeros(1, config.model.latent_dim, 1))
        self.register_buffer("latent_std", torch.full((1, config.model.latent_dim, 1), LATENT_SPREAD))
        self.spectral = SpectralLoss(config.model.sample_rate, config.n_ffts, config.n_mels)
        self.loudness = LoudnessLoss(config.model.sample_rate)

    def standardize(self, latent: Tensor) -> Tensor:
        """Bring every latent dimension to mean 0 and a spread that uses all levels evenly after tanh.

        Left free, the latent of a short run saturates tanh and the codes collapse. The statistics are running ones,
        constants to the gradient, and `fold_standardization` moves their work into the encoder's last layer.
        """
        return (latent - self.latent_mean) * (LATENT_SPREAD / self.latent_std) if self.config.standardize else latent

    @torch.no_grad()
    def unfold_standardization(self) -> None:
        """Give the encoder's last layer back the size of fresh weights, which learning rates are made for.

        `fold_standardization` shrinks it without bound, for nothing else holds the latent's scale in training.
        """
        conv = self.codec.audio_encoder.post_conv.conv
        scale = conv.weight[0].numel() ** -0.5 / conv.weight.square().mean().sqrt()
        _assign(conv, "weight", conv.weight * scale)
        _assign(conv, "bias", conv.bias * scale)
        self.latent_std.mul_(scale)

    @torch.no_grad()
    def track(self, mean: Tensor, square: Tensor, first: bool) -> None:
        """Update the running statistics of the raw latents.

        Args:
            mean: of a step's latents, [latent_dim].
            square: mean square of them, [latent_dim].
            first: whether they replace what was there.
        """
        rate = 1.0 if first else 0.03
        self.latent_mean.lerp_(mean.view(1, -1, 1), rate)
        now = self.latent_mean.view(-1)
        deviation = (square - 2 * now * mean + now.square()).clamp(min=0).sqrt() + 1e-5
        self.latent_std.lerp_(deviation.view(1, -1, 1), rate)

    def encode(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Encode with gradients.

        Args:
            audio: float [B, T] in [-1, 1], whole frames.

        Returns:
            The raw latent [B, latent_dim, N] and the encoder's features before its last stride.
        """
        *_, features, latent = self.codec.audio_encoder.stages(audio[:, None])
        return latent, features

    def decode(self, latent: Tensor, waveform: bool) -> tuple[Tensor | None, list[Tensor]]:
        """Decode with gradients.

        Args:
            latent: quantized, float [B, latent_dim, N] in [-1, 1].
            waveform: whether to compute more than the stages that heads read.

        Returns:
            Audio [B, T] before the output activation, None unless `waveform`; and the first stages' outputs.
        """
        decoder = self.codec.audio_decoder
        rest = decoder.stages(latent)
        stages = list(islice(rest, min(HEAD_STAGES, len(decoder.rates))))
        if not waveform:
            return None, stages
        for x in rest:
            audio = x
        return audio[:, 0], stages

    def forward(
        self, audio: Tensor, noise: Tensor, pick: Tensor, waveform: bool, heads: bool, freeze_encoder: bool
    ) -> ForwardOutput:
        """All losses but the adversarial ones.

        Args:
            audio: float [B, T] in [-1, 1], whole frames.
            noise: uniform in +- 1/2, [B, latent_dim, N], in place of rounding where an excerpt is not quantized.
            pick: bool [B, 1, 1], whether it is.
            waveform, heads, freeze_encoder: what is trained, as in `Phase`.
        """
        config, fsq = self.config, self.codec.vector_quantizer
        with torch.set_grad_enabled(torch.is_grad_enabled() and not freeze_encoder):
            raw, features = self.encode(audio)
            latent = self.standardize(raw.float())
        codes = fsq.encode(latent.detach())
        half = torch.cat([group.num_levels // 2 for group in fsq.quantizers()], 1)
        mixed = torch.where(pick, fsq(latent), fsq.squash(latent) + noise / half)
        decoded, stages = self.decode(mixed, waveform)
        losses: dict[str, tuple[float, Tensor]] = {}
        if heads and self.heads is not None and config.auxiliary_heads is not None:
            with torch.autocast(audio.device.type, enabled=False):
                encoded = None if freeze_encoder else features.float()
                losses |= self.heads(audio, encoded, [stage.float() for stage in stages], config.auxiliary_heads)
        if decoded is not None:
            decoded, rate, weights = decoded.float(), config.model.sample_rate, config.losses
            if weights.mel:
                losses["mel"] = (weights.mel, mel_loss(decoded, audio, rate))
            if weights.stft:
                losses["stft"] = (weights.stft, stft_loss(decoded, audio))
            if weights.spectral:
                losses["spectral"] = (weights.spectral, self.spectral(decoded, audio))
            if weights.loudness:
                losses["loudness"] = (weights.loudness, self.loudness(decoded, audio))
        total = torch.stack([weight * loss for weight, loss in losses.values()]).sum()
        parts = {name: loss.detach() for name, (_, loss) in losses.items()}
        return ForwardOutput(total, parts, decoded, codes, raw.detach().float())


def latent_moments(latent: Tensor) -> Tensor:
    """Mean and mean square of each dimension, [2, D], of raw latents [B, D, N], for `TrainingModel.track`."""
    values = latent.transpose(0, 1).flatten(1)
    return torch.stack([values.mean(1), values.square().mean(1)])


def averaged_codec(model: TrainingModel, average: Sequence[Tensor], calibration: Callable[[], Tensor]) -> NanoCodec:
    """The codec with averages of its weights, folded, on the CPU, in eval mode.

    Args:
        model: as it is trained.
        average: of each of its parameters, in their order.
        calibration: gives speech like that of training, [B, T], where latents are standardized.
    """
    config = model.config
    codec = NanoCodec(config.model)
    if not config.weight_norm:
        codec.fold()
    index = {id(p): i for i, p in enumerate(model.parameters())}
    averages = {name: average[index[id(p)]].cpu() for name, p in model.codec.named_parameters()}
    codec.load_state_dict({**codec.state_dict(), **averages})
    codec.fold()
    if config.standardize:
        fold_standardization(codec, calibration())
    return codec.eval()

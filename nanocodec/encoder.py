"""Waveform to latent: a non-causal HiFi-GAN generator run backwards."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from nanocodec.config import CodecConfig, stage_dilations
from nanocodec.layers import LEAKY_SLOPE, Conv, ResLayer


class Encoder(nn.Module):
    """[B, 1, T] samples to [B, latent_dim, T // hop]; T must be a whole number of hops.

    No output nonlinearity: the quantizer applies tanh.
    """

    def __init__(self, config: CodecConfig):
        super().__init__()
        spec = config.encoder
        channels = spec.base_channels
        self.strides = config.strides
        self.pre_conv = Conv(1, channels, spec.in_kernel_size, pad_mode=spec.pad_mode)
        self.res_layers = nn.ModuleList()
        self.down_sample_conv_layers = nn.ModuleList()
        stages = stage_dilations(spec.dilations, len(config.strides))
        for stride, dilations in zip(config.strides, stages, strict=True):
            self.res_layers.append(ResLayer(channels, spec.kernel_sizes, dilations, "lrelu", pad_mode=spec.pad_mode))
            self.down_sample_conv_layers.append(
                Conv(channels, 2 * channels, 2 * stride, stride=stride, pad_mode=spec.pad_mode)
            )
            channels *= 2
        self.post_conv = Conv(channels, config.latent_dim, spec.out_kernel_size, pad_mode=spec.pad_mode)

    def forward(self, audio: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = self.pre_conv(audio, lengths)
        for stride, residual, down in zip(self.strides, self.res_layers, self.down_sample_conv_layers, strict=True):
            x = F.leaky_relu(residual(x, lengths), LEAKY_SLOPE)
            x = down(x, lengths)
            lengths = None if lengths is None else lengths // stride
        return self.post_conv(F.leaky_relu(x, LEAKY_SLOPE), lengths)

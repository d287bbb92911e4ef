"""Waveform to latent: a non-causal HiFi-GAN generator run backwards."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

from nanocodec.config import CodecConfig, stage_dilations
from nanocodec.layers import LEAKY_SLOPE, Conv, ResLayer


class Encoder(nn.Module):
    """The encoder as it is trained: [B, 1, T] samples to [B, latent_dim, T // hop]; T must be a whole number of hops.

    `nanocodec.inference.LatentEncoder` computes the same faster, without gradients. The latent has no nonlinearity:
    the quantizer applies tanh.

    Args:
        config: of the codec.
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

    def stages(self, audio: Tensor, lengths: Tensor | None = None) -> Iterator[Tensor]:
        """Compute layer by layer, for those who need what lies between.

        Args:
            audio: float [B, 1, T] in [-1, 1].
            lengths: samples of each item, int64 [B], whole frames; None where every item fills its row.

        Yields:
            The output of each residual layer, [B, base_channels * 2^i, T / (strides[0] * ... * strides[i - 1])], and
            at last the latent, [B, latent_dim, T // hop].
        """
        x = self.pre_conv(audio, lengths)
        for stride, residual, down in zip(self.strides, self.res_layers, self.down_sample_conv_layers, strict=True):
            x = residual(x, lengths)
            yield x
            x = down(F.leaky_relu(x, LEAKY_SLOPE), lengths)
            lengths = None if lengths is None else lengths // stride
        yield self.post_conv(F.leaky_relu(x, LEAKY_SLOPE), lengths)

    def forward(self, audio: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The latent [B, latent_dim, T // hop]; arguments as of `stages`."""
        for x in self.stages(audio, lengths):
            latent = x
        return latent

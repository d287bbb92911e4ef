"""Latent to waveform: the causal HiFi-GAN generator of NanoCodec, and LFSC's non-causal one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nanocodec.config import CodecConfig, stage_dilations
from nanocodec.layers import Activation, Conv, DenseUpsample, GroupedCausalUpsample, ResLayer


class Decoder(nn.Module):
    """The decoder as it is trained: [B, latent_dim, N] to [B, 1, N * hop] samples in [-1, 1].

    Causal variants have the prefix property: the first n frames alone give the first n * hop samples exactly.
    `nanocodec.inference.LatentDecoder` computes the same faster for them, without gradients.

    Args:
        config: of the codec.
    """

    def __init__(self, config: CodecConfig):
        super().__init__()
        spec = config.decoder
        if spec.causal != spec.grouped_upsampling:
            raise ValueError(f"{config.name}: causal decoders upsample in groups and non-causal ones densely")
        channels = spec.base_channels
        conv: dict[str, Any] = {"pad_mode": spec.pad_mode, "causal": spec.causal}
        upsample: type[nn.Module] = GroupedCausalUpsample if spec.grouped_upsampling else DenseUpsample
        self.rates = config.strides[::-1]
        self.output_activation = spec.output_activation
        self.pre_conv = Conv(config.latent_dim, channels, spec.in_kernel_size, **conv)
        self.activations = nn.ModuleList()
        self.up_sample_conv_layers = nn.ModuleList()
        self.res_layers = nn.ModuleList()
        stages = stage_dilations(spec.dilations, len(self.rates))
        for rate, dilations in zip(self.rates, stages, strict=True):
            self.activations.append(Activation(spec.activation, channels))
            self.up_sample_conv_layers.append(upsample(channels, rate))
            channels //= 2
            self.res_layers.append(ResLayer(channels, spec.kernel_sizes, dilations, spec.activation, **conv))
        self.post_activation = Activation(spec.activation, channels)
        self.post_conv = Conv(channels, 1, spec.out_kernel_size, **conv)

    def stages(self, latent: Tensor, lengths: Tensor | None = None) -> Iterator[Tensor]:
        """Compute layer by layer, for those who need what lies between, or not all of it.

        Args:
            latent: dequantized, float [B, latent_dim, N] in [-1, 1].
            lengths: frames of each item, int64 [B]; None where every item fills its row.

        Yields:
            The output of each residual layer, [B, base_channels / 2^(i + 1), N * rates[0] * ... * rates[i]], and at
            last the samples before the output activation, [B, 1, N * hop].
        """
        x = self.pre_conv(latent, lengths)
        for rate, activation, upsample, residual in zip(
            self.rates, self.activations, self.up_sample_conv_layers, self.res_layers, strict=True
        ):
            x = upsample(activation(x), lengths)
            lengths = None if lengths is None else lengths * rate
            x = residual(x, lengths)
            yield x
        yield self.post_conv(self.post_activation(x), lengths)

    def forward(self, latent: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Samples [B, 1, N * hop] in [-1, 1]; arguments as of `stages`."""
        for x in self.stages(latent, lengths):
            audio = x
        return torch.tanh(audio) if self.output_activation == "tanh" else audio.clamp(-1.0, 1.0)

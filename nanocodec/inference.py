"""Encoder and decoder without gradients: the other form of `Encoder.forward` and `Decoder.forward`, which is faster.

Both carry the state of every layer, so they take a recording whole (`NanoCodec.encode`, `NanoCodec.decode`) or chunk by
chunk (`nanocodec.streaming`). The tests hold them equal to the plain modules.

The decoder's layers look only backwards. A convolution of kernel k and dilation d needs the last (k - 1) * d of its
inputs again, a transposed one the half of its last frame's contribution that falls into the next block. With these
kept, any cut of the codes into chunks gives the samples of the whole, at a cost per frame that does not grow. The whole
is decoded in blocks small enough for a processor's cache: in one go, the activations would wait for memory
(docs/decisions/0043-decoding-in-blocks.md). The encoder's layers look to both sides, so it answers later.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from nanocodec.causal import CausalBranch, CausalConv, CausalUpsample
from nanocodec.decoder import Decoder
from nanocodec.encoder import Encoder
from nanocodec.fused import FusedBranch, wanted
from nanocodec.layers import GroupedCausalUpsample
from nanocodec.symmetric import SymmetricConv, SymmetricLayer
from nanocodec.threads import SecondThread, mean, side_by_side, with_second_thread

Precision = Literal["fp32", "bf16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

BLOCK = 1 << 20  # numbers in a block of activations: four megabytes in fp32
ACCELERATOR_BLOCK = 1 << 27  # there memory is the only limit, and many short operations take long to launch
FIRST_BLOCK = 64  # frames that share one pass over the weights of the first, widest layers


class LatentEncoder:
    """The encoder with its state: samples in, latents out.

    Args:
        encoder: the plain module; its weights are read at each call.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._pre = SymmetricConv(encoder.pre_conv, activated=False)
        self._stages = [
            (SymmetricLayer(layer), SymmetricConv(down))
            for layer, down in zip(encoder.res_layers, encoder.down_sample_conv_layers, strict=True)
        ]
        self._post = SymmetricConv(encoder.post_conv)

    def __call__(self, audio: Tensor, last: bool) -> Tensor:
        """Encode the next samples.

        Args:
            audio: float [B, 1, n], n >= 0; all of them together must be whole frames.
            last: whether no more come.

        Returns:
            The latents [B, latent_dim, m], m >= 0, that are decided by now; all that remain if `last`.
        """
        return with_second_thread(audio.device, lambda second_thread: self._run(audio, last, second_thread))

    def _run(self, audio: Tensor, last: bool, second_thread: SecondThread) -> Tensor:
        x = self._pre(audio, last)
        for layer, down in self._stages:
            x = down(layer(x, last, second_thread), last)
        return self._post(x, last)


class _Stage:
    """One upsampling of the decoder and its residual layer."""

    def __init__(self, activation: Any, up: Any, layer: Any, batch: int, dtype: torch.dtype) -> None:
        self.upsample = CausalUpsample(up, activation, batch)
        fused = wanted(up.conv.weight[::2])
        kind: type[CausalBranch] | type[FusedBranch] = FusedBranch if fused else CausalBranch
        self.branches = [kind(branch, batch, dtype) for branch in layer.res_blocks]

    def __call__(self, x: Tensor, second_thread: SecondThread) -> Tensor:
        return mean(side_by_side(self.branches, second_thread, self.upsample(x)))

    @property
    def states(self) -> list[Tensor]:
        convs = (conv for branch in self.branches for pair in branch.blocks for conv in pair)
        return [self.upsample.state.past, *(conv.state.past for conv in convs)]


class LatentDecoder:
    """The causal decoder with its state: latents in, samples out, as often as you like.

    Args:
        decoder: the plain module; its weights are read now.
        batch: streams that advance together.
        dtype: of the residual layers' convolutions.

    Raises:
        ValueError: a decoder that is not causal (LFSC).
    """

    def __init__(self, decoder: Decoder, batch: int, dtype: torch.dtype = torch.float32) -> None:
        if not isinstance(decoder.up_sample_conv_layers[0], GroupedCausalUpsample):
            raise ValueError("a non-causal decoder cannot be streamed: its samples depend on future frames")
        self._clamp = decoder.output_activation == "clamp"
        self._pre = CausalConv(decoder.pre_conv, None, batch, torch.float32)
        self._stages = [
            _Stage(*parts, batch, dtype)
            for parts in zip(decoder.activations, decoder.up_sample_conv_layers, decoder.res_layers, strict=True)
        ]
        self._post = CausalConv(decoder.post_conv, decoder.post_activation, batch, torch.float32)
        block = BLOCK if decoder.pre_conv.conv.weight.device.type == "cpu" else ACCELERATOR_BLOCK
        self._pieces = []  # for each stage, how many of its inputs make a block
        for rate, stage in zip(decoder.rates, self._stages, strict=True):
            numbers = batch * stage.upsample.channels * rate
            self._pieces.append(max(1, block // numbers))
        self._pieces[0] = max(self._pieces[0], FIRST_BLOCK)

    @property
    def states(self) -> list[Tensor]:
        """Every tensor that is carried, each with the batch as its first dimension."""
        inner = (state for stage in self._stages for state in stage.states)
        return [self._pre.state.past, *inner, self._post.state.past]

    def __call__(self, latent: Tensor) -> Tensor:
        """Decode the next latents, float [B, latent_dim, n], to samples [B, 1, n * hop] in [-1, 1]."""
        return with_second_thread(latent.device, lambda second_thread: self._whole(latent, second_thread))

    def _whole(self, latent: Tensor, second_thread: SecondThread) -> Tensor:
        out: list[Tensor] = []
        self._run(0, self._pre(latent[:, :, None])[0], second_thread, out)
        return (out[0] if len(out) == 1 else torch.cat(out, dim=3))[:, :, 0]

    def _run(self, index: int, x: Tensor, second_thread: SecondThread, out: list[Tensor]) -> None:
        """Bring a block through the stages from `index` on, in pieces, each to the end before the next begins."""
        if index == len(self._stages):
            audio, _ = self._post(x)
            out.append(audio.clamp_(-1.0, 1.0) if self._clamp else audio.tanh_())
            return
        for piece in x.split(self._pieces[index], dim=3):
            self._run(index + 1, self._stages[index](piece, second_thread), second_thread, out)

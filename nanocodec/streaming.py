"""Frame by frame: a decoder that carries the state of every causal convolution, and an encoder with bounded lookahead.

The decoder's layers look only backwards. A convolution of kernel k and dilation d needs the last (k - 1) * d of its
inputs again, a transposed one the half of its last frame's contribution that falls into the next block. With these
kept, any cut of the codes into chunks gives the samples of the whole, at a cost per frame that does not grow.

The whole is decoded the same way (`NanoCodec.decode`), in blocks small enough for a processor's cache: in one go, the
activations would wait for memory (docs/decisions/0043-decoding-in-blocks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from nanocodec.causal import CausalConv, CausalUpsample, follow
from nanocodec.config import CodecConfig, stage_dilations
from nanocodec.decoder import Decoder
from nanocodec.layers import LEAKY_SLOPE, GroupedCausalUpsample, full_precision, pad_at_ends
from nanocodec.threads import Aside, averaged, side_by_side

if TYPE_CHECKING:
    from nanocodec.model import NanoCodec

Precision = Literal["fp32", "bf16"]
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

BLOCK = 1 << 20  # numbers in a block of activations: four megabytes in fp32
ACCELERATOR_BLOCK = 1 << 27  # there memory is the only limit, and many short operations take long to launch
FIRST_BLOCK = 64  # frames that share one pass over the weights of the first, widest layers


class _Stage:
    """One upsampling and its residual layer."""

    def __init__(self, activation: Any, up: Any, layer: Any, batch: int, dtype: torch.dtype) -> None:
        self.upsample = CausalUpsample(up, activation, batch)
        self.branches = [
            [
                (
                    CausalConv(block.input_conv, block.input_activation, batch, dtype),
                    CausalConv(block.skip_conv, block.skip_activation, batch, dtype),
                )
                for block in branch.res_blocks
            ]
            for branch in layer.res_blocks
        ]

    def __call__(self, x: Tensor, aside: Aside) -> Tensor:
        return averaged(self.branches, follow, self.upsample(x), aside)

    @property
    def states(self) -> list[Tensor]:
        convs = (conv for branch in self.branches for pair in branch for conv in pair)
        return [self.upsample.entry.past, *(conv.entry.past for conv in convs)]


class LatentDecoder:
    """The causal decoder with its state: latents [B, D, n] in, samples [B, 1, n * hop] out, as often as you like."""

    def __init__(self, decoder: Decoder, batch: int, dtype: torch.dtype = torch.float32) -> None:
        if not isinstance(decoder.up_sample_conv_layers[0], GroupedCausalUpsample):
            raise ValueError("a non-causal decoder cannot be streamed: its samples need frames to come")
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
        return [self._pre.entry.past, *inner, self._post.entry.past]

    def __call__(self, latent: Tensor) -> Tensor:
        return side_by_side(latent.device, lambda aside: self._whole(latent, aside))

    def _whole(self, latent: Tensor, aside: Aside) -> Tensor:
        out: list[Tensor] = []
        self._run(0, self._pre(latent[:, :, None])[0], aside, out)
        return (out[0] if len(out) == 1 else torch.cat(out, dim=3))[:, :, 0]

    def _run(self, index: int, x: Tensor, aside: Aside, out: list[Tensor]) -> None:
        """Bring a block through the stages from `index` on, in pieces, each to the end before the next begins."""
        if index == len(self._stages):
            sound, _ = self._post(x)
            out.append(sound.clamp_(-1.0, 1.0) if self._clamp else sound.tanh_())
            return
        for piece in x.split(self._pieces[index], dim=3):
            self._run(index + 1, self._stages[index](piece, aside), aside, out)


class _Recording:
    """A step on a GPU, recorded as a CUDA graph and played back: one launch instead of a thousand."""

    def __init__(self, step: Callable[[Tensor], Tensor], codes: Tensor) -> None:
        self.codes = codes.clone()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.audio = step(self.codes)

    def __call__(self, codes: Tensor) -> Tensor:
        self.codes.copy_(codes)
        self.graph.replay()
        return self.audio.clone()


class StreamingDecoder:
    """Codes to audio, chunk by chunk; `NanoCodec.streaming_decoder` makes one.

    The `batch` streams advance together but know nothing of one another. Memory does not grow, and what a frame costs
    does not depend on how many came before. On a GPU, chunks as long as the one before are decoded by a CUDA graph.
    """

    def __init__(self, model: NanoCodec, batch: int = 1, precision: Precision = "fp32") -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self._model, self.batch = model, batch
        with torch.no_grad():
            self._decoder = LatentDecoder(model.audio_decoder, batch, DTYPES[precision])
        self._frames = 0
        self._recording: _Recording | None = None

    @torch.inference_mode()
    def push(self, codes: Tensor) -> Tensor:
        """Decode the next frames.

        Args:
            codes: integer [B, K, n] in [0, codebook_size), n >= 0 frames of each stream.

        Returns:
            float [B, n * hop] in [-1, 1]: exactly the samples that the offline decode gives these frames, to 1e-5.

        Raises:
            ValueError: a shape or a code that this model cannot have produced.
        """
        self._model.check_codes(codes)
        if codes.shape[0] != self.batch:
            raise ValueError(f"this decoder has {self.batch} streams, got codes for {codes.shape[0]}")
        if codes.shape[2] == 0:
            return self._decoder.states[0].new_zeros(self.batch, 0)
        with full_precision(codes.device):
            return self._on_gpu(codes) if codes.is_cuda else self._step(codes)

    def _step(self, codes: Tensor) -> Tensor:
        return self._decoder(self._model.vector_quantizer.decode(codes))[:, 0]

    def _on_gpu(self, codes: Tensor) -> Tensor:
        """The step, recorded when a length comes for the second time: the first has warmed its libraries up."""
        if codes.shape[2] != self._frames:
            self._frames, self._recording = codes.shape[2], None
            return self._step(codes)
        if self._recording is None:
            self._recording = _Recording(self._step, codes)
        return self._recording(codes)

    @torch.inference_mode()
    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Start afresh, as if nothing had been pushed: all streams, or those named by their place in the batch."""
        places = range(self.batch) if streams is None else list(streams)
        for place in places:
            if not 0 <= place < self.batch:
                raise ValueError(f"no stream {place} in a batch of {self.batch}")
        for state in self._decoder.states:
            for place in places:
                state[place] = 0


def lookahead(config: CodecConfig) -> int:
    """How many samples past its own end a frame's code depends on, from the kernels, dilations and strides.

    24,000 samples, 13.6 frames or 1.09 s, for NanoCodec at 12.5 frames per second: the encoder, unlike the decoder,
    is not causal.
    """
    spec = config.encoder
    reach, rate = spec.in_kernel_size // 2, 1
    widest = max(spec.kernel_sizes) // 2
    for stride, dilations in zip(config.strides, stage_dilations(spec.dilations, len(config.strides)), strict=True):
        reach += rate * sum(widest * dilation + widest for dilation in dilations)
        reach += rate * (2 * stride - 1 - (stride + 1) // 2 - (stride - 1))  # beyond the last sample of its own block
        rate *= stride
    return reach + rate * (spec.out_kernel_size // 2)


class _Window:
    """A symmetric convolution fed in pieces: gives each output as soon as its inputs are there."""

    def __init__(self, module: Any) -> None:
        conv = module.conv
        self.weight, self.bias = conv.weight.detach(), conv.bias.detach()
        self.stride, self.dilation = conv.stride[0], conv.dilation[0]
        self.span = (self.weight.shape[2] - 1) * self.dilation + 1
        self.pad, self.mode = module.left, module.pad_mode
        self.waiting: Tensor | None = None
        self.started = False

    def __call__(self, x: Tensor, last: bool) -> Tensor:
        x = x if self.waiting is None else torch.cat([self.waiting, x], dim=2)
        enough = x.shape[2] > (self.pad if self.mode == "reflect" else 0)
        left = 0 if self.started else self.pad
        if not last and not self.started and not enough:
            self.waiting = x
            return x.new_empty(x.shape[0], len(self.weight), 0)
        x = pad_at_ends(x, left, self.pad if last else 0, self.mode)
        self.started = True
        count = max(0, (x.shape[2] - self.span) // self.stride + 1)
        self.waiting = x[:, :, count * self.stride :]
        if not count:
            return x.new_empty(x.shape[0], len(self.weight), 0)
        x = x[:, :, : (count - 1) * self.stride + self.span]
        return F.conv1d(x, self.weight, self.bias, stride=self.stride, dilation=self.dilation)


class _Delay:
    """Holds what one branch has given until the others have caught up."""

    def __init__(self) -> None:
        self.waiting: Tensor | None = None

    def put(self, x: Tensor) -> int:
        self.waiting = x if self.waiting is None else torch.cat([self.waiting, x], dim=2)
        return self.waiting.shape[2]

    def take(self, count: int) -> Tensor:
        assert self.waiting is not None
        taken, self.waiting = self.waiting[:, :, :count], self.waiting[:, :, count:]
        return taken


class _WindowedLayer:
    """An encoder's residual layer fed in pieces."""

    def __init__(self, layer: Any) -> None:
        self.branches = [
            [(_Window(block.input_conv), _Window(block.skip_conv), _Delay()) for block in branch.res_blocks]
            for branch in layer.res_blocks
        ]
        self.outputs = [_Delay() for _ in self.branches]

    def __call__(self, x: Tensor, last: bool) -> Tensor:
        ready = []
        for branch, output in zip(self.branches, self.outputs, strict=True):
            y = x
            for first, second, delay in branch:
                delay.put(y)
                change = second(F.leaky_relu(first(F.leaky_relu(y, LEAKY_SLOPE), last), LEAKY_SLOPE), last)
                y = change + delay.take(change.shape[2])
            ready.append(output.put(y))
        parts = [output.take(min(ready)) for output in self.outputs]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total / len(parts)


class StreamingEncoder:
    """Audio to codes, chunk by chunk; `NanoCodec.streaming_encoder` makes one.

    A frame's codes come out as soon as `lookahead` samples beyond its end are in, and equal those of the whole
    recording. Memory does not grow.
    """

    def __init__(self, model: NanoCodec, batch: int = 1) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self._model, self.batch = model, batch
        self.lookahead = lookahead(model.config)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Start afresh, as if nothing had been pushed."""
        encoder = self._model.audio_encoder
        self._pre = _Window(encoder.pre_conv)
        self._stages = [
            (_WindowedLayer(layer), _Window(down))
            for layer, down in zip(encoder.res_layers, encoder.down_sample_conv_layers, strict=True)
        ]
        self._post = _Window(encoder.post_conv)
        self._samples, self._finished = 0, False

    @torch.inference_mode()
    def push(self, audio: Tensor) -> Tensor:
        """Take the next samples, float [B, T], T >= 0; return the codes, int32 [B, K, n], n >= 0, decided by now.

        Raises:
            ValueError: another shape, or after `finish` without `reset`.
        """
        if audio.dim() != 2 or audio.shape[0] != self.batch:
            raise ValueError(f"audio must be [{self.batch}, T] samples, got shape {list(audio.shape)}")
        if self._finished:
            raise ValueError("this stream is finished; reset it to begin another")
        self._samples += audio.shape[1]
        return self._run(audio, last=False)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """Say that no more audio comes: the remaining codes, int32 [B, K, n], the last frame padded with zeros."""
        if self._finished or not self._samples:
            raise ValueError("nothing to finish: push audio first")
        self._finished = True
        return self._run(self._pre.weight.new_zeros(self.batch, -self._samples % self._model.hop), last=True)

    def _run(self, audio: Tensor, last: bool) -> Tensor:
        with full_precision(audio.device):
            x = self._pre(audio[:, None], last)
            for layer, down in self._stages:
                x = down(F.leaky_relu(layer(x, last), LEAKY_SLOPE), last)
            latent = self._post(F.leaky_relu(x, LEAKY_SLOPE), last)
        return self._model.vector_quantizer.encode(latent)

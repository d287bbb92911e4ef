"""Chunk by chunk: a decoder that answers each frame at once, and an encoder with bounded lookahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from nanocodec.config import CodecConfig, stage_dilations
from nanocodec.decoder import Decoder
from nanocodec.encoder import Encoder
from nanocodec.inference import DTYPES, LatentDecoder, LatentEncoder, Precision
from nanocodec.layers import full_precision
from nanocodec.quantizer import GroupFiniteScalarQuantizer


class _CudaGraph:
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

    Args:
        decoder: a causal one.
        quantizer: of the same codec.
        batch: streams.
        precision: as of `NanoCodec.decode`.

    Raises:
        ValueError: a batch below 1, or a decoder that is not causal.
    """

    def __init__(
        self,
        decoder: Decoder,
        quantizer: GroupFiniteScalarQuantizer,
        batch: int = 1,
        precision: Precision = "fp32",
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self._quantizer, self.batch = quantizer, batch
        with torch.no_grad():
            self._decoder = LatentDecoder(decoder, batch, DTYPES[precision])
        self._frames = 0
        self._graph: _CudaGraph | None = None

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
        self._quantizer.check(codes)
        if codes.shape[0] != self.batch:
            raise ValueError(f"this decoder has {self.batch} streams, got codes for {codes.shape[0]}")
        if codes.shape[2] == 0:
            return self._decoder.states[0].new_zeros(self.batch, 0)
        with full_precision(codes.device):
            return self._on_gpu(codes) if codes.is_cuda else self._step(codes)

    def _step(self, codes: Tensor) -> Tensor:
        return self._decoder(self._quantizer.decode(codes))[:, 0]

    def _on_gpu(self, codes: Tensor) -> Tensor:
        """The step, recorded when a length comes for the second time: the first has warmed its libraries up."""
        if codes.shape[2] != self._frames:
            self._frames, self._graph = codes.shape[2], None
            return self._step(codes)
        if self._graph is None:
            self._graph = _CudaGraph(self._step, codes)
        return self._graph(codes)

    @torch.inference_mode()
    def reset(self, streams: Iterable[int] | None = None) -> None:
        """Start afresh, as if nothing had been pushed.

        Args:
            streams: places in the batch; None for all.

        Raises:
            ValueError: a place that the batch does not have.
        """
        places = range(self.batch) if streams is None else list(streams)
        for place in places:
            if not 0 <= place < self.batch:
                raise ValueError(f"no stream {place} in a batch of {self.batch}")
        for state in self._decoder.states:
            for place in places:
                state[place] = 0


def lookahead(config: CodecConfig) -> int:
    """How many samples past its own end a frame's codes depend on, from the kernels, dilations and strides.

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


class StreamingEncoder:
    """Audio to codes, chunk by chunk; `NanoCodec.streaming_encoder` makes one.

    A frame's codes come out as soon as `lookahead` samples beyond its end are in, and equal those of the whole
    recording. Memory does not grow.

    Args:
        encoder: of any codec.
        quantizer: of the same codec.
        config: of the same codec.
        batch: streams that advance together.

    Attributes:
        lookahead: samples beyond a frame's end that its codes depend on.

    Raises:
        ValueError: a batch below 1.
    """

    def __init__(
        self, encoder: Encoder, quantizer: GroupFiniteScalarQuantizer, config: CodecConfig, batch: int = 1
    ) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self._encoder, self._quantizer, self._hop, self.batch = encoder, quantizer, config.hop, batch
        self.lookahead = lookahead(config)
        self.reset()

    def reset(self) -> None:
        """Start afresh, as if nothing had been pushed."""
        self._latents = LatentEncoder(self._encoder)
        self._samples, self._finished = 0, False

    @torch.inference_mode()
    def push(self, audio: Tensor) -> Tensor:
        """Encode the next samples.

        Args:
            audio: float [B, T] in [-1, 1], T >= 0, at the codec's sampling rate.

        Returns:
            The codes that are decided by now and were not before, int32 [B, K, n], n >= 0.

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
        """Say that no more audio comes.

        Returns:
            The remaining codes, int32 [B, K, n]; the last frame is padded with zeros.

        Raises:
            ValueError: nothing was pushed, or it was finished before.
        """
        if self._finished or not self._samples:
            raise ValueError("nothing to finish: push audio first")
        self._finished = True
        return self._run(self._encoder.post_conv.conv.bias.new_zeros(self.batch, -self._samples % self._hop), last=True)

    def _run(self, audio: Tensor, last: bool) -> Tensor:
        with full_precision(audio.device):
            latent = self._latents(audio[:, None], last)
        return self._quantizer.encode(latent)

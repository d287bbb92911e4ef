"""The codec: audio to codes and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanocodec.config import CodecConfig, get_config
from nanocodec.decoder import Decoder
from nanocodec.encoder import Encoder
from nanocodec.inference import DTYPES, LatentDecoder, LatentEncoder, Precision
from nanocodec.layers import fold_weight_norm, full_precision, valid_mask
from nanocodec.quantizer import GroupFiniteScalarQuantizer
from nanocodec.streaming import StreamingDecoder, StreamingEncoder


class NanoCodec(nn.Module):
    """A NanoCodec (Casanova et al. 2025, arXiv:2508.05835) of any variant: encoder, group FSQ, decoder.

    >>> codec = NanoCodec.builtin()
    >>> codes, _ = codec.encode(audio)         # audio float [B, T] in [-1, 1] at codec.sample_rate
    >>> decoded = codec.decode(codes)          # [B, N * codec.hop]; trim it to T

    Args:
        config: architecture; the weights are random (`from_pretrained` loads trained ones).

    Raises:
        ValueError: the configuration describes no codec.
    """

    def __init__(self, config: CodecConfig):
        super().__init__()
        config.validate()
        self.config = config
        self.audio_encoder = Encoder(config)
        self.vector_quantizer = GroupFiniteScalarQuantizer(config.levels, config.num_codebooks)
        self.audio_decoder = Decoder(config)

    @classmethod
    def from_variant(cls, name: str) -> NanoCodec:
        """A randomly initialised model of the variant called `name` (see `nanocodec.config.VARIANTS`).

        Raises:
            UnknownVariantError: no such variant.
        """
        return cls(get_config(name))

    @classmethod
    def builtin(cls) -> NanoCodec:
        """The trained `mini-1.1k` that ships with the package, with weight norm folded, in eval mode."""
        return cls.from_pretrained("mini-1.1k")

    @classmethod
    def from_pretrained(cls, source: str | Path) -> NanoCodec:
        """Load trained weights.

        Args:
            source: `mini-1.1k`, which is built in; a released variant (`0.6k`, `1.78k`, `1.89k`, `lfsc`), taken from
                the cache or downloaded at its pinned revision; a `.nemo` or `.safetensors` file; or a folder that
                `nanocodec convert` wrote.

        Returns:
            The model, with weight norm folded, in eval mode, on the CPU.

        Raises:
            MissingWeightsError: no such weights on this machine; the message says which exist, and the command that
                fetches them.
            CheckpointError: the file is not a valid codec checkpoint; the message says what is wrong.
        """
        from nanocodec.checkpoint import load  # here, for checkpoint makes models: it imports this module

        return load(source)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.config.sample_rate

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.config.hop

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.config.frame_rate

    def fold(self) -> NanoCodec:
        """Fold weight normalisation into plain weights, in place, and return the model (for inference)."""
        fold_weight_norm(self)
        return self

    def _check_lengths(self, lengths: Tensor | None, batch: int, total: int, what: str) -> Tensor | None:
        if lengths is None:
            return None
        if lengths.shape != (batch,):
            raise ValueError(f"lengths must have shape [{batch}], got {list(lengths.shape)}")
        if bool((lengths < 0).any()) or bool((lengths > total).any()):
            raise ValueError(f"lengths must lie in [0, {total}] {what}, got {lengths.tolist()}")
        return lengths.to(torch.int64)

    def encode_latent(self, audio: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Audio to the unquantized latent; each item is padded with zeros to whole frames.

        Args:
            audio: float [B, T], mono samples in [-1, 1] at `sample_rate`.
            lengths: samples per item, integer [B]; None when every item fills its row.

        Returns:
            Latents [B, latent_dim, N], N = ceil(T / hop), unbounded; and the frames per item, int64 [B].

        Raises:
            ValueError: wrong shape, or lengths that do not fit.
        """
        if audio.dim() != 2:
            raise ValueError(f"audio must be [B, T] samples, got shape {list(audio.shape)}")
        batch, total = audio.shape
        lengths = self._check_lengths(lengths, batch, total, "samples")
        audio = F.pad(audio, (0, -total % self.hop))
        if lengths is None:
            if torch.is_grad_enabled() or torch.jit.is_tracing() or not total:
                latent = self.audio_encoder(audio[:, None])
            else:  # the same, faster
                latent = LatentEncoder(self.audio_encoder)(audio[:, None], last=True)
            return latent, torch.full((batch,), latent.shape[-1], device=audio.device)
        frames = -(-lengths // self.hop)
        audio = audio * valid_mask(lengths, audio.shape[1])
        return self.audio_encoder(audio[:, None], frames * self.hop), frames

    def encode(self, audio: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Audio to codes.

        Args:
            audio: float [B, T], mono samples in [-1, 1] at `sample_rate`.
            lengths: samples per item, integer [B]; None when every item fills its row.

        Returns:
            Codes int32 [B, K, N] in [0, codebook_size), N = ceil(T / hop), zero past an item's end; and the frames
            per item, int64 [B].

        Raises:
            ValueError: wrong shape, or lengths that do not fit.
        """
        with full_precision(audio.device):
            latent, frames = self.encode_latent(audio, lengths)
        codes = self.vector_quantizer.encode(latent)
        if lengths is not None:
            codes = codes * valid_mask(frames, codes.shape[-1])[:, None]
        return codes, frames

    def decode(self, codes: Tensor, lengths: Tensor | None = None, precision: Precision = "fp32") -> Tensor:
        """Codes to audio.

        Args:
            codes: integer [B, K, N] in [0, codebook_size).
            lengths: frames per item, integer [B]; None when every item fills its row.
            precision: `bf16` runs the residual layers' convolutions of a causal decoder in bfloat16, without gradients:
                faster on processors with bf16 instructions, and slightly less exact.

        Returns:
            float [B, N * hop] in [-1, 1], zero past an item's end; trim it to the original length yourself.

        Raises:
            ValueError: a shape or code that this model cannot produce, or an unknown precision.
        """
        self.vector_quantizer.check(codes)
        batch, _, frames = codes.shape
        lengths = self._check_lengths(lengths, batch, frames, "frames")
        latent = self.vector_quantizer.decode(codes)
        if lengths is not None:  # a frame past the end is a zero vector, which is not what code 0 stands for
            latent = latent * valid_mask(lengths, frames)[:, None]
        as_written = torch.is_grad_enabled() or torch.jit.is_tracing() or not self.config.decoder.causal
        if as_written and precision != "fp32":
            raise ValueError(f"{precision} is for causal decoders, without gradients")
        with full_precision(latent.device):
            if as_written or not frames:
                audio = self.audio_decoder(latent, lengths)[:, 0]
            else:  # the same in blocks, which is faster
                audio = LatentDecoder(self.audio_decoder, batch, DTYPES[precision])(latent)[:, 0]
        if lengths is not None:
            audio = audio * valid_mask(lengths * self.hop, audio.shape[1])
        return audio

    def streaming_decoder(self, batch: int = 1, precision: Precision = "fp32") -> StreamingDecoder:
        """A decoder that takes codes chunk by chunk; see `nanocodec.streaming.StreamingDecoder`.

        Args:
            batch: independent streams.
            precision: as for `decode`.

        Raises:
            ValueError: the decoder is not causal (LFSC).
        """
        return StreamingDecoder(self.audio_decoder, self.vector_quantizer, batch, precision)

    def streaming_encoder(self, batch: int = 1) -> StreamingEncoder:
        """An encoder that takes audio chunk by chunk; see `nanocodec.streaming.StreamingEncoder`.

        Args:
            batch: independent streams.
        """
        return StreamingEncoder(self.audio_encoder, self.vector_quantizer, self.config, batch)

    def forward(self, audio: Tensor) -> Tensor:
        """Audio float [B, T] through encoder, straight-through quantizer and decoder: [B, ceil(T / hop) * hop]."""
        latent, _ = self.encode_latent(audio)
        return self.audio_decoder(self.vector_quantizer(latent))[:, 0]

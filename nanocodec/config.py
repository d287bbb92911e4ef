"""Every NanoCodec variant as data.

What identifies a codec is typed in once: the FSQ levels, the number of codebooks, the strides and the widths.
Hop, frame rate, latent width, codebook size and bitrate follow from these and are never written down twice.

Sources: NVIDIA NeMo's `AudioCodecModel` and the configurations inside the released `.nemo` files; variants that
were never released (0.8k, 1.1k and its two frame-rate ablations) follow the names in the authors' demo.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

PadMode = Literal["zeros", "replicate", "reflect"]
Dilations = tuple[int, ...] | tuple[tuple[int, ...], ...]


def stage_dilations(dilations: Dilations, stages: int) -> tuple[tuple[int, ...], ...]:
    """Dilations of each stage's residual blocks, whether a config gives them once or per stage.

    Raises:
        ValueError: they are given for another number of stages.
    """
    if isinstance(dilations[0], int):
        return (dilations,) * stages
    if len(dilations) != stages:
        raise ValueError(f"dilations are given for {len(dilations)} stages, but there are {stages}")
    return dilations


class UnknownVariantError(ValueError):
    """A variant's name that is not in `VARIANTS`; the message lists those that are."""


@dataclass(frozen=True)
class EncoderConfig:
    """HiFi-GAN encoder, non-causal; channels double at every stride, starting from `base_channels`.

    `dilations` are those of every residual layer or, as a tuple of tuples, of each stage's: narrow models spend
    less where the rate is high.
    """

    base_channels: int = 24
    kernel_sizes: tuple[int, ...] = (3, 7, 11)
    dilations: Dilations = (1, 3, 5)
    in_kernel_size: int = 7
    out_kernel_size: int = 7
    pad_mode: PadMode = "replicate"


@dataclass(frozen=True)
class DecoderConfig:
    """HiFi-GAN decoder; channels halve (integer division) at every rate, starting from `base_channels`.

    `dilations` as in `EncoderConfig`, in the order of the decoder's stages.
    """

    base_channels: int = 864
    kernel_sizes: tuple[int, ...] = (3, 7, 11)
    dilations: Dilations = (1, 3, 5)
    in_kernel_size: int = 7
    out_kernel_size: int = 3
    causal: bool = True
    activation: Literal["half_snake", "lrelu"] = "half_snake"
    output_activation: Literal["clamp", "tanh"] = "clamp"
    pad_mode: PadMode = "zeros"
    grouped_upsampling: bool = True  # one group per output channel, so each reads two input channels


@dataclass(frozen=True)
class CodecConfig:
    """One codec. The decoder's upsampling rates are the encoder's `strides` reversed."""

    name: str
    levels: tuple[int, ...]
    num_codebooks: int
    strides: tuple[int, ...]
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    sample_rate: int = 22050
    note: str = ""

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @property
    def codebook_size(self) -> int:
        """Codes per codebook; codes lie in [0, codebook_size)."""
        return math.prod(self.levels)

    @property
    def latent_dim(self) -> int:
        """Width of the latent between encoder and decoder: one dimension per level per codebook."""
        return len(self.levels) * self.num_codebooks

    @property
    def bitrate(self) -> float:
        """Bits per second: num_codebooks * log2(codebook_size) * frame_rate, before any entropy coding."""
        return self.num_codebooks * math.log2(self.codebook_size) * self.frame_rate

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready data, the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CodecConfig:
        """Rebuild a config from `to_dict`'s output (lists become tuples).

        Raises:
            ValueError: a key is unknown or missing, or a value has no meaning for a codec.
        """
        try:
            parts = {key: _tuples(value) for key, value in data.items()}
            parts["encoder"] = EncoderConfig(**_tuples(data.get("encoder", {})))
            parts["decoder"] = DecoderConfig(**_tuples(data.get("decoder", {})))
            config = cls(**parts)
        except TypeError as error:
            raise ValueError(f"not a codec configuration: {error}") from error
        config.validate()
        return config

    def validate(self) -> None:
        """Raise ValueError where a number cannot describe a codec."""
        if type(self.sample_rate) is not int or not 1000 <= self.sample_rate <= 384_000:
            raise ValueError(f"{self.name}: the sampling rate must be 1000 to 384000 Hz, not {self.sample_rate!r}")
        if not self.levels or min(self.levels) < 2:
            raise ValueError(f"{self.name}: FSQ levels must all be at least 2, got {self.levels}")
        if self.num_codebooks < 1 or not self.strides or min(self.strides) < 1:
            raise ValueError(f"{self.name}: needs at least one codebook and positive strides")
        if self.decoder.base_channels >> len(self.strides) < 1:
            raise ValueError(
                f"{self.name}: decoder base_channels {self.decoder.base_channels} cannot be halved "
                f"{len(self.strides)} times"
            )
        if self.decoder.grouped_upsampling and self.decoder.base_channels % 2 ** len(self.strides):
            raise ValueError(
                f"{self.name}: grouped upsampling pairs channels, so decoder base_channels "
                f"{self.decoder.base_channels} must be divisible by {2 ** len(self.strides)}"
            )


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


_FSQ_2016 = (8, 7, 6, 6)
_STRIDES_12_5 = (2, 3, 6, 7, 7)
_STRIDES_21_5 = (2, 2, 4, 8, 8)

VARIANTS: dict[str, CodecConfig] = {
    config.name: config
    for config in (
        CodecConfig("0.6k", (9, 8, 8, 7), 4, _STRIDES_12_5),
        CodecConfig(
            "0.8k", (16, 16, 16, 16), 4, _STRIDES_12_5,
            note="never released; the codebook size 65,536 is the authors', its split into levels is inferred",
        ),
        CodecConfig("1.1k", _FSQ_2016, 8, _STRIDES_12_5, note="in the paper, never released"),
        CodecConfig("1.78k", _FSQ_2016, 13, _STRIDES_12_5),
        CodecConfig("1.1k-25fps", _FSQ_2016, 4, (2, 3, 3, 7, 7), note="the paper's ablation, never released"),
        CodecConfig(
            "1.1k-6.25fps", _FSQ_2016, 16, (4, 3, 6, 7, 7),
            note="the paper's ablation, never released; its strides are unknown, these are this project's choice",
        ),
        CodecConfig("1.89k", _FSQ_2016, 8, _STRIDES_21_5),
        CodecConfig(
            "lfsc", _FSQ_2016, 8, _STRIDES_21_5,
            encoder=EncoderConfig(base_channels=48, dilations=(1,), pad_mode="reflect"),
            decoder=DecoderConfig(
                base_channels=1024, causal=False, activation="lrelu", output_activation="tanh",
                pad_mode="reflect", grouped_upsampling=False,
            ),
            note="Low Frame-rate Speech Codec, NanoCodec's non-causal predecessor",
        ),
        CodecConfig(
            "mini-1.1k", _FSQ_2016, 8, _STRIDES_12_5,
            encoder=EncoderConfig(12, (3, 7), dilations=((1,), (1,), (1, 3, 5), (1, 3, 5), (1, 3, 5))),
            decoder=DecoderConfig(384, (3, 7), dilations=((1, 3, 5), (1, 3, 5), (1, 3), (1, 3), (1,))),
            note="this project's own: the same architecture, narrower, small enough to ship",
        ),
    )
}  # fmt: skip


def get_config(name: str) -> CodecConfig:
    """The variant called `name`.

    Raises:
        UnknownVariantError: no such variant; the message lists the known ones.
    """
    try:
        return VARIANTS[name]
    except KeyError:
        raise UnknownVariantError(f"unknown NanoCodec variant {name!r}; known: {', '.join(VARIANTS)}") from None

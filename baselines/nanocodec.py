"""NanoCodec (Casanova et al., 2025, arXiv 2508.05835) by this project's own implementation, the package `nanocodec`.

At 1.1 kbit/s, it uses the checkpoint that ships with this project: the paper's architecture, but narrower, under a name
that cannot be confused with the paper's model, whose weights at this rate were never released. The other rates use
NVIDIA's released `.nemo` files, and so does its predecessor LFSC (Casanova et al., 2024, arXiv 2409.12117).
"""

from collections.abc import Callable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.codecs import LEVEL, READY, Availability, Codec, CodecInfo, Network, is_release
from evalkit.environment.extras import hub_first
from evalkit.errors import MissingError
from nanocodec import releases
from nanocodec.config import CodecConfig, get_config, stage_dilations
from nanocodec.errors import CheckpointError

from .network import RANDOM, BatchNetworkCodec
from .weights import Release, details, file_name

if TYPE_CHECKING:
    from torch import Tensor

    from nanocodec.model import NanoCodec

BUILT_IN = "1.1k"
WEIGHTS = "mini-1.1k"
"""The built-in checkpoint's name in the package `nanocodec`."""
NOTES = {
    "0.6k": "NVIDIA made this release for fine-tuning with a limited set of speakers, and does not recommend it for "
    "general-purpose encoding and decoding"
}
"""By variant, what its publisher says of the release (the card of nvidia/nemo-nano-codec-22khz-1.78kbps-12.5fps)."""
PARAMETERS = {"0.6k": 61_729_725, "1.78k": 62_141_025, "1.89k": 62_568_373, "lfsc": 112_664_609}
"""Those of the released models."""
SIZES = {"1.89k": 425_021_440, "lfsc": 619_253_760}
"""Bytes of the released files, where somebody states them."""


class NanoCodecCodec(BatchNetworkCodec):
    """A `nanocodec.NanoCodec`: 22.05 kHz, N = ceil(T / hop)."""

    batch_equal = True
    """Every layer pads an item at its own end, so neither others nor their length reach it."""

    @property
    def lookahead(self) -> tuple[float, float]:
        """From kernels, dilations and strides."""
        from nanocodec.streaming import lookahead

        return lookahead(self._model.config), decoder_lookahead(self._model.config)

    def tokens(self, audio: "Tensor") -> "Tensor":
        return self._model.encode(audio[None])[0][0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None])[0]

    def tokens_of_batch(self, audio: "Tensor", lengths: "Tensor") -> "Tensor":
        return self._model.encode(audio, lengths)[0]

    def audio_of_batch(self, tokens: "Tensor", frames: "Tensor") -> "Tensor":
        return self._model.decode(tokens, frames)

    def network(self) -> Network:
        """The model, for batches of equal lengths."""
        model = self._model

        def encode(audio: "Tensor") -> "Tensor":
            return model.audio_encoder(audio[:, None]) if audio.is_meta else model.encode(audio)[0]

        def decode(tokens: "Tensor") -> "Tensor":
            if not tokens.is_meta:
                return model.decode(tokens)
            return model.audio_decoder(tokens.new_zeros(len(tokens), model.config.latent_dim, tokens.shape[2]).float())

        return Network(model, encode, decode, lambda audio: model.encode_latent(audio)[0], batched=True)

    def stream_encoder(self) -> Callable[[Wave], NDArray[np.int64]]:
        """Encodes as samples come, `nanocodec.streaming.lookahead` samples behind."""
        import torch

        stream = self._model.streaming_encoder()

        def push(wav: Wave) -> NDArray[np.int64]:
            codes = stream.push(torch.from_numpy(np.array(wav, np.float32))[None].to(self._device))
            return codes[0].cpu().numpy().astype(np.int64)

        return push


def decoder_lookahead(config: CodecConfig) -> int:
    """How many samples before a frame's start depend on its codes: 0 for causal decoders, 12,720 for LFSC's."""
    spec = config.decoder
    if spec.causal:
        return 0
    stages = list(zip(config.strides, reversed(stage_dilations(spec.dilations, len(config.strides))), strict=True))

    def last_frame(sample: int) -> int:
        place = sample + spec.out_kernel_size // 2
        for rate, dilations in stages:
            place += sum(max(spec.kernel_sizes) // 2 * (dilation + 1) for dilation in dilations)
            place = (place + (rate + 1) // 2) // rate
        return place + spec.in_kernel_size // 2

    return max(last_frame(sample) * config.hop - sample for sample in range(config.hop))


class StreamingNanoCodecCodec(NanoCodecCodec):
    """One whose decoder is causal."""

    def stream_decoder(self) -> Callable[[NDArray[np.int64]], Wave]:
        """Decodes frame by frame."""
        import torch

        stream = self._model.streaming_decoder()

        def push(indices: NDArray[np.int64]) -> Wave:
            return stream.push(torch.from_numpy(np.array(indices))[None].to(self._device))[0].cpu().numpy()

        return push


class NanoCodecFamily:
    """A codec of the NanoCodec family at the rates that have weights: `variants` by rate, as `nanocodec` names them."""

    def __init__(self, name: str, variants: Mapping[str, str], license: str) -> None:
        self.name = name
        self.variants = variants
        self.default_rate = BUILT_IN if BUILT_IN in variants else next(iter(variants))
        self.license = license

    @property
    def rates(self) -> Mapping[str, float]:
        """Exact bit/s, derived from each variant's codebooks and frame rate."""
        return {rate: get_config(variant).bitrate for rate, variant in self.variants.items()}

    def availability(self, rate: str) -> Availability:
        """Ready where the weights came with the package, or were downloaded."""
        if rate == BUILT_IN:
            here = self._built_in().is_file()
            return READY if here else Availability("needs download", "reinstall the package: its weights are missing")
        release, spec = self.release(rate), f"{self.name}@{rate}"
        if release is None:
            return Availability(
                "needs weights", "No weights were released: add --weights FILE, or --rendered DIR of decoded audio"
            )
        if release.find() is not None:
            return READY
        command = releases.RELEASES[self.variants[rate]].command
        return Availability(
            "needs download",
            f"{hub_first()}Run `evalkit fetch {spec}`; or download the file elsewhere (`{command} --local-dir DIR`) "
            f"and add --weights DIR/{release.files[0]} ({release.what})",
        )

    def release(self, rate: str) -> Release | None:
        """The released weights at `rate`; None where there are none."""
        variant = self.variants[rate]
        found = releases.RELEASES.get(variant)
        if found is None or rate == BUILT_IN:
            return None
        sha256 = {found.file: found.sha256} if found.sha256 else {}
        return Release(
            found.repository, (found.file,), found.license, found.revision, sha256, SIZES.get(variant, 0)
        )  # fmt: skip

    def info(self, rate: str) -> CodecInfo:
        """What is known of the codec at `rate`."""
        config = get_config(self.variants[rate])
        release = releases.RELEASES.get(self.variants[rate])
        weights, license, count = ("built in", "Apache-2.0", None) if rate == BUILT_IN else ("", "", None)
        if release is not None:
            weights, license = f"{release.repository} ({release.revision[:12]})", release.license.split(" (")[0]
            count = PARAMETERS[self.variants[rate]]
        return CodecInfo(
            config.sample_rate, config.frame_rate, (config.codebook_size,) * config.num_codebooks, count,
            "Apache-2.0", license, weights, causal=config.decoder.causal,
            depends_on=(LEVEL,),
        )  # fmt: skip

    def build(self, rate: str, device: str = "cpu") -> Codec:
        """The codec at `rate` on `device` (a torch device); raises MissingError where its weights are not here."""
        if not (state := self.availability(rate)).ready:
            raise MissingError(f"{self.name}@{rate}: {state.remedy}")
        if (release := self.release(rate)) is not None:
            codec = self._open(self.fetch(rate), rate, device, f"{self.name}@{rate}")
            codec.note = "; ".join(filter(None, [NOTES.get(self.variants[rate], ""), release.note]))
            if release.replaced:
                codec.name = f"{codec.name} ({release.replaced})"
            return codec
        with resources.as_file(self._built_in()) as path:
            return self._open(path, rate, device, "nanocodec-mini@1.1k (built in)")

    def fetch(self, rate: str) -> Path:
        """The file of the weights at `rate`, downloaded and verified where it was released."""
        if rate == BUILT_IN:
            with resources.as_file(self._built_in()) as path:
                return path
        release = self.release(rate)
        if release is None:
            raise MissingError(f"{self.name}@{rate}: {self.availability(rate).remedy}")
        return release.fetch(f"{self.name}@{rate}") / release.files[0]

    def build_from(self, weights: Path, rate: str, device: str = "cpu") -> Codec:
        """The codec with a `.nemo` or `.safetensors` file; raises MissingError where it is of another rate."""
        codec = self._open(weights, rate, device, f"{self.name}@{rate}")
        if is_release(self, rate, codec):
            codec.note = NOTES.get(self.variants[rate], "")
        else:
            codec.name = f"{codec.name} ({file_name(weights)})"
        return codec

    def release_sha256(self, rate: str) -> Mapping[str, str]:
        """sha256 of the released file at `rate`, where it was recorded."""
        release = self.release(rate)
        return release.sha256 if release is not None else {}

    def _open(self, path: Path, rate: str, device: str, name: str) -> NanoCodecCodec:
        from nanocodec.checkpoint import resolve
        from nanocodec.model import NanoCodec

        try:
            path = resolve(path)  # of a folder, the file in it
            model = NanoCodec.from_pretrained(path)
        except (CheckpointError, OSError) as error:
            raise MissingError(f"{self.name}@{rate}: {error}") from error
        found, wanted = (
            f"{config.num_codebooks} codebooks of {config.codebook_size} at {config.frame_rate:g} frames/s"
            for config in (model.config, get_config(self.variants[rate]))
        )
        if found != wanted:
            raise MissingError(f"{path} has {found}, {self.name}@{rate} {wanted}")
        return self._adapt(name, model.to(device), rate, details([path]))

    def _adapt(self, name: str, model: "NanoCodec", rate: str, about: Mapping[str, object]) -> NanoCodecCodec:
        adapter = StreamingNanoCodecCodec if model.config.decoder.causal else NanoCodecCodec
        return adapter(name, model, self.info(rate), about)

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """The paper's model at `rate`, with random weights: at 1.1 kbit/s not the built-in one, which is narrower."""
        from nanocodec.testing import seeded_model

        model = seeded_model(get_config(self.variants[rate])).to(device)
        return self._adapt(f"{self.name}@{rate}", model, rate, RANDOM)

    def _built_in(self) -> Traversable:
        return resources.files("nanocodec") / "weights" / f"{WEIGHTS}.safetensors"


FAMILY = NanoCodecFamily(
    "nanocodec",
    {rate: rate for rate in ("0.6k", "0.8k", BUILT_IN, "1.1k-25fps", "1.1k-6.25fps", "1.78k", "1.89k")},
    "Apache-2.0 (code and built-in weights); NVIDIA Open Model License (released weights)",
)
LFSC = NanoCodecFamily("lfsc", {"1.89k": "lfsc"}, "Apache-2.0 (code); NSCLv1, non-commercial (weights)")
"""Low Frame-rate Speech Codec: 21.5 frames/s, not causal."""

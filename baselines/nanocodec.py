"""NanoCodec (Casanova et al., 2025, arXiv 2508.05835) by this project's own implementation, the package `nanocodec`.

At 1.1 kbit/s it is the checkpoint that ships with the project: the paper's architecture, narrower, and named so that
its rows cannot be taken for the paper's model. The paper's own weights at this rate were never released.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib import resources
from importlib.metadata import version
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from evalkit.codecs import READY, Codec, Codes, State, Wave
from evalkit.errors import MissingError
from nanocodec.config import CodecConfig, get_config

BUILT_IN = "1.1k"
WEIGHTS = "mini-1.1k"
"""The built-in checkpoint's name in the package `nanocodec`."""
PUBLIC = {
    "0.6k": "nvidia/nemo-nano-codec-22khz-0.6kbps-12.5fps",
    "1.78k": "nvidia/nemo-nano-codec-22khz-1.78kbps-12.5fps",
    "1.89k": "nvidia/nemo-nano-codec-22khz-1.89kbps-21.5fps",
}
"""Released checkpoints on the Hugging Face hub, under the NVIDIA Open Model License."""


class NanoCodecCodec:
    """A `nanocodec.NanoCodec` behind the protocol: 22.05 kHz, one utterance at a time."""

    def __init__(self, name: str, model: Any, device: str, details: Mapping[str, object]) -> None:
        config: CodecConfig = model.config
        self.details = details
        self.name = name
        self.sample_rate: int | None = config.sample_rate
        self.frame_rate: float | None = config.frame_rate
        self.codebook_sizes = (config.codebook_size,) * config.num_codebooks
        self.streaming = config.decoder.causal
        self._model = model.to(device).eval()
        self._device = device

    def encode(self, wav: Wave) -> Codes:
        """Indices [K, N] of `wav` [T], N = ceil(T / hop): the last frame is padded."""
        import torch

        with torch.inference_mode():
            audio = torch.from_numpy(np.ascontiguousarray(wav, np.float32)).to(self._device)
            indices, _ = self._model.encode(audio[None])
        return Codes(len(wav), indices[0].cpu().numpy().astype(np.int64), self.codebook_sizes)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length]: the decoder's N * hop samples without those of the padding."""
        import torch

        with torch.inference_mode():
            audio = self._model.decode(torch.from_numpy(codes.indices).to(self._device)[None])
        return audio[0, : codes.length].float().cpu().numpy()


class NanoCodecFamily:
    """NanoCodec at the rates that have weights: the built-in one, and those that were released."""

    name = "nanocodec"
    default_rate = BUILT_IN
    license = "Apache-2.0 (code and built-in weights); NVIDIA Open Model License (released weights)"

    @property
    def rates(self) -> Mapping[str, float]:
        """Exact bit/s, derived from each variant's codebooks and frame rate."""
        return {rate: get_config(rate).bitrate for rate in sorted((BUILT_IN, *PUBLIC), key=lambda r: float(r[:-1]))}

    def state(self, rate: str) -> State:
        """Ready at 1.1k; the other rates need a download that this release cannot open yet."""
        if rate != BUILT_IN:
            return State("needs download", remedy(rate))
        return (
            READY
            if self._weights().is_file()
            else State("needs download", "install the package again: no weights came with it")
        )

    def build(self, rate: str, device: str = "cpu") -> Codec:
        """NanoCodec at `rate` on `device` (a torch device); raises MissingError where its weights are not here."""
        if not (state := self.state(rate)).ready:
            raise MissingError(f"{self.name}@{rate}: {state.remedy}")
        from nanocodec.model import NanoCodec

        details = {"weights_sha256": sha256(self._weights().read_bytes()).hexdigest(), "torch": version("torch")}
        return NanoCodecCodec("nanocodec-mini@1.1k (built in)", NanoCodec.from_pretrained(WEIGHTS), device, details)

    def _weights(self) -> Traversable:
        return resources.files("nanocodec") / "weights" / f"{WEIGHTS}.safetensors"


def remedy(rate: str) -> str:
    """What the released checkpoint at `rate` is, and when it can be used."""
    repository = PUBLIC[rate]
    file = f"{repository.removeprefix('nvidia/')}.nemo"
    where = f"https://huggingface.co/{repository}"
    return f"the weights are {file} of {where}; loading .nemo files comes with the next release"


FAMILY = NanoCodecFamily()

"""SNAC (Siuzdak et al., 2024, arXiv 2410.14411) by its own package: 24 kHz, three codebooks at three frame rates.

The codebooks of 4096 run at 11.7, 23.4 and 46.9 frames/s. One coarse frame is therefore seven codes, one from the
first, two from the second and four from the third, in this order: 984 bit/s. The decoder adds noise that it draws; it
is drawn from the same seed for every utterance, so that the same codes give the same audio.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.codecs import Card, Codec, Codes, Wave
from evalkit.errors import MissingError

from . import optional
from .weights import HubFamily, Release, digests, locate

SAMPLE_RATE = 24_000
STRIDES = (4, 2, 1)
"""Fine frames for each code of the three codebooks."""
FRAME = 4 * 512
"""Samples of a coarse frame."""
CODEBOOK = 4096
SIZES = (CODEBOOK,) * sum(STRIDES[0] // stride for stride in STRIDES)
NOISE_SEED = 0
RELEASE = Release("hubertsiuzdak/snac_24khz", ("config.json", "pytorch_model.bin"), "MIT")
PARAMETERS = 19_842_914


class SnacCodec:
    """A SNAC model, one utterance at a time."""

    sample_rate: int | None = SAMPLE_RATE
    frame_rate: float | None = SAMPLE_RATE / FRAME
    codebook_sizes = SIZES
    streaming = False

    def __init__(self, name: str, model: Any, device: str, details: Mapping[str, object]) -> None:
        self.name = name
        self.details = details
        self._model = model.to(device).eval()
        self._device = device

    def encode(self, wav: Wave) -> Codes:
        """Indices [7, N] of `wav` [T] at 24 kHz, N = ceil(T / 2048)."""
        import torch

        with torch.inference_mode():
            audio = torch.from_numpy(np.array(wav, np.float32)).to(self._device)
            levels = self._model.encode(audio[None, None])
        coarse = levels[0].shape[1]
        rows = [level[0].cpu().numpy().reshape(coarse, -1).T for level in levels]
        return Codes(len(wav), np.concatenate(rows).astype(np.int64), SIZES)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] at 24 kHz."""
        import torch

        assert codes.indices is not None
        ends = np.cumsum([STRIDES[0] // stride for stride in STRIDES])[:-1]
        levels = [
            torch.from_numpy(part.T.reshape(1, -1).copy()).to(self._device) for part in np.split(codes.indices, ends)
        ]
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(NOISE_SEED)
            audio = self._model.decode(levels)
        return audio[0, 0, : codes.length].float().cpu().numpy()


class SnacFamily(HubFamily):
    """The 24 kHz model, which was trained on speech."""

    name = "snac"
    rates: Mapping[str, float] = {"0.98k": len(SIZES) * 12 * SAMPLE_RATE / FRAME}
    default_rate = "0.98k"
    license = "MIT (code and weights)"
    package = "snac"

    def release(self, rate: str) -> Release:
        """The weights; no revision is pinned yet."""
        return RELEASE

    def card(self, rate: str) -> Card:
        """What is known of the 24 kHz model."""
        return Card(
            SAMPLE_RATE, SAMPLE_RATE / FRAME, SIZES, PARAMETERS, "MIT", RELEASE.license, str(RELEASE), causal=False
        )

    def build_from(self, weights: Path, rate: str, device: str = "cpu") -> Codec:
        """SNAC with `config.json` and `pytorch_model.bin` in the folder `weights`.

        Raises MissingError where they are not there, are damaged, hold anything but numbers, or another model.
        """
        spec = self.spec(rate)
        config, tensors = locate(weights, RELEASE.files, spec)
        snac = optional.load("snac", optional.MODELS)
        import torch

        try:
            about = json.loads(config.read_text(encoding="utf-8"))
            model = snac.SNAC(**about)
            model.load_state_dict(torch.load(tensors, map_location="cpu", weights_only=True))
        except Exception as error:  # json, pickle, zip and torch each raise their own
            raise MissingError(f"{spec}: the weights in {weights} cannot be opened ({error})") from error
        found = (model.sampling_rate, int(model.hop_length), tuple(model.vq_strides), model.codebook_size)
        if found != (SAMPLE_RATE, FRAME // STRIDES[0], STRIDES, CODEBOOK):
            raise MissingError(f"{spec}: {weights} holds another SNAC than the 24 kHz model")
        details = {
            "weights_sha256": digests([config, tensors]), "snac": version("snac"), "torch": version("torch"),
            "noise_seed": NOISE_SEED,
        }  # fmt: skip
        return SnacCodec(spec, model, device, details)


FAMILY = SnacFamily()

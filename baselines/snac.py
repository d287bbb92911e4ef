"""SNAC (Siuzdak et al., 2024, arXiv 2410.14411) by its own package: 24 kHz, three codebooks at three frame rates.

The codebooks of 4096 run at 11.7, 23.4 and 46.9 frames/s. A coarse frame is therefore seven codes, one from the first,
two from the second and four from the third, in this order: 984 bit/s. The decoder adds random noise, which is drawn
from the same seed for every utterance, so that the same codes give the same audio.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo, Network
from evalkit.environment import extras
from evalkit.errors import MissingError

from .network import RANDOM, NetworkCodec, draw
from .tensors import lay_out, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 24_000
STRIDES = (4, 2, 1)
"""Fine frames for each code of the three codebooks."""
FRAME = 4 * 512
"""Samples of a coarse frame."""
CODEBOOK = 4096
SIZES = (CODEBOOK,) * sum(STRIDES[0] // stride for stride in STRIDES)
NOISE_SEED = 0
RELEASE = Release(
    "hubertsiuzdak/snac_24khz",
    ("config.json", "pytorch_model.bin"),
    "MIT",
    "d73ad176a12188fcf4f360ba3bf2c2fbbe8f58ec",
    {
        "config.json": "e119b9366d4f5e73c6ca5f31137c4ff361578bbb132953a5203afe037c4012be",
        "pytorch_model.bin": "4b8164cc6606bfa627f1a784734c1e539891518f1191ed9194fe1e3b9b4bff40",
    },
    79_488_554,
)
PARAMETERS = 19_842_914
CONFIG: dict[str, Any] = {
    "sampling_rate": SAMPLE_RATE, "encoder_dim": 48, "encoder_rates": [2, 4, 8, 8], "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2], "attn_window_size": None, "codebook_size": CODEBOOK, "codebook_dim": 8,
    "vq_strides": list(STRIDES), "noise": True, "depthwise": True,
}  # fmt: skip
"""The published config.json of the 24 kHz model, for random weights."""


class SnacCodec(NetworkCodec):
    """A SNAC model: N = ceil(T / 2048) coarse frames."""

    lookahead = (4757.0, 4757.0)
    residual = False
    """Each codebook refines the previous ones, but the decoder needs them all."""

    def tokens(self, audio: "Tensor") -> "Tensor":
        import torch

        levels = self._model.encode(audio[None, None])
        return torch.cat([level.reshape(levels[0].shape[1], -1).T for level in levels])

    def audio(self, tokens: "Tensor") -> "Tensor":
        import torch

        levels = tokens.split([STRIDES[0] // stride for stride in STRIDES])
        with torch.random.fork_rng():
            torch.manual_seed(NOISE_SEED)
            return self._model.decode([level.T.reshape(1, -1) for level in levels])[0, 0]

    def network(self) -> Network:
        """The SNAC model, for batches of equal lengths; its noise is not seeded."""
        import torch

        model, counts = self._model, [STRIDES[0] // stride for stride in STRIDES]

        def encode(audio: "Tensor") -> "Tensor":
            levels = model.encode(audio[:, None])
            return torch.cat([x.reshape(len(x), levels[0].shape[1], -1).transpose(1, 2) for x in levels], 1)

        def decode(tokens: "Tensor") -> "Tensor":
            return model.decode([x.transpose(1, 2).reshape(len(x), -1) for x in tokens.split(counts, 1)])[:, 0]

        def latents(audio: "Tensor") -> "Tensor":
            fine = model.encoder(model.preprocess(audio[:, None]))
            return fine.reshape(*fine.shape[:2], -1, STRIDES[0]).transpose(2, 3).flatten(1, 2)

        return Network(model, encode, decode, latents, batched=True)


class SnacFamily(ReleasedFamily):
    """The 24 kHz model, which was trained on speech."""

    name = "snac"
    rates: Mapping[str, float] = {"0.98k": len(SIZES) * 12 * SAMPLE_RATE / FRAME}
    default_rate = "0.98k"
    license = "MIT (code and weights)"
    published = RELEASE
    package = "snac"

    def info(self, rate: str) -> CodecInfo:
        """What is known of the 24 kHz model."""
        return CodecInfo(
            SAMPLE_RATE,
            SAMPLE_RATE / FRAME,
            SIZES,
            PARAMETERS,
            "MIT",
            RELEASE.license,
            str(RELEASE),
            causal=False,
            depends_on=(LEVEL,),
        )

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """SNAC with `config.json` and `pytorch_model.bin` in the folder `weights`.

        Raises MissingError where they are not there, are damaged, hold anything but numbers, or another model.
        """
        spec = self.spec(rate)
        config, path = locate(weights, RELEASE.files, spec)
        snac = extras.load("snac", "models")
        state = read(path, spec)
        try:
            about = json.loads(config.read_text(encoding="utf-8"))
            lay_out(lambda: snac.SNAC(**about), path)
            model = snac.SNAC(**about)
            model.load_state_dict(state)
        except Exception as error:  # json, pickle, zip and torch each raise their own
            raise MissingError(f"{spec}: the weights in {weights} cannot be opened ({error})") from error
        found = (model.sampling_rate, int(model.hop_length), tuple(model.vq_strides), model.codebook_size)
        if found != (SAMPLE_RATE, FRAME // STRIDES[0], STRIDES, CODEBOOK):
            raise MissingError(f"{spec}: {weights} is not SNAC's 24 kHz model")
        about = details([config, path], "snac") | {"noise_seed": NOISE_SEED}
        return SnacCodec(spec, model.to(device), self.info(rate), about)

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """SNAC as released, with random weights."""
        snac = extras.load("snac", "models")
        return SnacCodec(self.spec(rate), draw(lambda: snac.SNAC(**CONFIG), device), self.info(rate), RANDOM)


FAMILY = SnacFamily()

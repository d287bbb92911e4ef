"""Mimi (Défossez et al., 2024, arXiv 2410.00037) by transformers' MimiModel: 24 kHz, 12.5 frames/s, 1 to 32 codebooks.

Each codebook has 2048 entries and costs 137.5 bit/s. The default is eight codebooks, 1.1 kbit/s, as in Moshi
(transformers' own default is 32). Utterances are processed one at a time unless a run asks for batches, because the
last frames of a padded batch differ from those of a single run. They are decoded whole, because upstream's streaming
decoder does not give the same audio.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evalkit.audio import Wave
from evalkit.codecs import LEVEL, Codec, CodecInfo, Network
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, BatchNetworkCodec, NetworkCodec, draw
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 24_000
HOP = 1920
FRAME_RATE = SAMPLE_RATE / HOP
CODEBOOK = 2048
BITS = 11 * FRAME_RATE
"""Bit/s of one codebook."""
RELEASE = Release(
    "kyutai/mimi",
    pretrained.FILES,
    "CC-BY-4.0",
    "89091b3e466eb6a9d11e537bf26b144f194978f7",
    {
        "config.json": "aca6f44b04f7bc2e7466b71597d2d51e463ed1cf3cd7025d8848595580546c36",
        "model.safetensors": "bac7e85083dcded655d24eaadde7e6eea34c0da1b35fa2d284e641bd2b942a5e",
    },
    384_649_828,
)
PARAMETERS = 79_308_609
"""Without the codebooks, which transformers counts as buffers."""
DIMENSION = 256
"""Of a codebook's entries."""


class MimiCodec(BatchNetworkCodec):
    """The first codebooks of a MimiModel: N = ceil(T / 1920)."""

    residual = True
    lookahead = (0.0, 0.0)
    batch_equal = False
    """Each convolution pads at the end of the batch, so a shorter utterance's last frame sees the others' length."""

    def tokens(self, audio: "Tensor") -> "Tensor":
        return self._model.encode(audio[None, None], num_quantizers=len(self.codebook_sizes)).audio_codes[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None]).audio_values[0, 0]

    def tokens_of_batch(self, audio: "Tensor", lengths: "Tensor") -> "Tensor":
        return self._model.encode(audio[:, None], num_quantizers=len(self.codebook_sizes)).audio_codes

    def audio_of_batch(self, tokens: "Tensor", frames: "Tensor") -> "Tensor":
        return self._model.decode(tokens).audio_values[:, 0]

    def network(self) -> Network:
        """The MimiModel, for batches of equal lengths."""
        model, count = self._model, len(self.codebook_sizes)
        return Network(
            model,
            lambda audio: model.encode(audio[:, None], num_quantizers=count).audio_codes,
            lambda tokens: model.decode(tokens).audio_values[:, 0],
            lambda audio: model.encoder(audio[:, None]).latents,
            batched=True,
        )

    def stream_encoder(self) -> Callable[[Wave], NDArray[np.int64]]:
        """Encodes whole frames of 80 ms as they come, to the codes of the whole."""
        import torch

        carried: dict[str, Any] = {"encoder_past_key_values": None, "padding_cache": None}
        count = len(self.codebook_sizes)

        @torch.inference_mode()
        def push(wav: Wave) -> NDArray[np.int64]:
            audio = torch.from_numpy(np.array(wav, np.float32)).to(self._device)[None, None]
            out = self._model.encode(audio, num_quantizers=count, use_streaming=True, **carried)
            carried.update({name: out[name] for name in carried})
            return out.audio_codes[0].cpu().numpy()

        return push


class MimiFamily(ReleasedFamily):
    """Mimi with 1 to 32 codebooks."""

    name = "mimi"
    rates: Mapping[str, float] = {f"{n * BITS / 1000:g}k": n * BITS for n in range(1, 33)}
    default_rate = "1.1k"
    license = f"Apache-2.0 (transformers); {RELEASE.license} (weights)"
    published = RELEASE
    package = "transformers"

    def info(self, rate: str) -> CodecInfo:
        """What is known of Mimi at `rate`."""
        count = codebooks(self.rates[rate])
        return CodecInfo(
            SAMPLE_RATE, FRAME_RATE, (CODEBOOK,) * count, PARAMETERS + count * CODEBOOK * DIMENSION,
            "Apache-2.0", RELEASE.license, str(RELEASE), causal=True, depends_on=(LEVEL,),
            listed=rate in ("0.55k", "1.1k", "2.2k", "4.4k"),
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """Mimi at `rate` with the weights that `MimiModel.save_pretrained` wrote to the folder `weights`.

        Raises MissingError where they are not there, or have other rates or fewer codebooks.
        """
        spec = self.spec(rate)
        files = locate(weights, pretrained.FILES, spec)
        model = pretrained.load("MimiModel", "mimi", weights, device, spec)
        config, count = model.config, codebooks(self.rates[rate])
        found = (config.sampling_rate, config.frame_rate, config.codebook_size)
        if found != (SAMPLE_RATE, FRAME_RATE, CODEBOOK) or config.num_quantizers < count:
            raise MissingError(
                f"{spec} takes {SAMPLE_RATE} Hz, {FRAME_RATE} frames/s and {count} codebooks of {CODEBOOK}; {weights} "
                f"has {found[0]} Hz, {found[1]} frames/s and {config.num_quantizers} codebooks of {found[2]}"
            )
        return MimiCodec(spec, model, self.info(rate), details(files, "transformers"))

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """Mimi as released, with random weights."""

        def make() -> Any:
            model = pretrained.fresh("MimiModel")
            for name, buffer in model.named_buffers():
                if name.endswith("embed_sum"):  # else zeros, and every code is 0
                    buffer.normal_(std=0.01)
            return model

        return MimiCodec(self.spec(rate), draw(make, device), self.info(rate), RANDOM)


def codebooks(bitrate: float) -> int:
    """How many codebooks cost `bitrate` bit/s."""
    return round(bitrate / BITS)


FAMILY = MimiFamily()

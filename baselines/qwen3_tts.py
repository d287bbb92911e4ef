"""Qwen3-TTS-Tokenizer-12Hz (Qwen team, 2026, arXiv 2601.15621): 24 kHz, 12.5 frames/s, 16 codebooks of 2048, causal.

Mimi's encoder, by transformers, and a decoder of its own (qwen3_tts_model.py). Upstream decodes 300 frames at a time,
each with 25 frames of context, though its attention reaches 72 back: beyond 24 s that differs from decoding all at
once. `2.2k` decodes all at once, `2.2k-chunked` as upstream does.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, CodecInfo
from evalkit.environment import extras
from evalkit.errors import MissingError

from . import pretrained
from .network import NetworkCodec
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 24_000
HOP = 1920
FRAME_RATE = SAMPLE_RATE / HOP
CODEBOOKS = (2048,) * 16
CHUNK, CONTEXT = 300, 25
"""Frames that upstream decodes at once, and how many before them it decodes again."""
CHUNKED = "2.2k-chunked"
RELEASE = Release("Qwen/Qwen3-TTS-Tokenizer-12Hz", pretrained.FILES, "Apache-2.0", size=682_000_000)
PARAMETERS = 161_546_209
"""Codebooks of both sides among them; without those of the encoder beyond the sixteenth."""


class Qwen3TtsCodec(NetworkCodec):
    """A `Tokenizer`: N = ceil(T / 1920)."""

    def __init__(self, chunk: int | None, *common: Any) -> None:
        super().__init__(*common)
        self._chunk = chunk

    def tokens(self, audio: "Tensor") -> "Tensor":
        return self._model["encoder"].encode(audio[None, None], num_quantizers=len(CODEBOOKS)).audio_codes[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        import torch

        decoder, step = self._model["decoder"], self._chunk or tokens.shape[1]
        parts = []
        for start in range(0, tokens.shape[1], step):
            before = max(0, start - CONTEXT)
            parts.append(decoder(tokens[None, :, before : start + step])[0, (start - before) * HOP :])
        return torch.cat(parts)


class Qwen3TtsFamily(ReleasedFamily):
    """The released tokenizer, whose decoder takes all sixteen codebooks or none."""

    name = "qwen3-tts-12hz"
    rates: Mapping[str, float] = dict.fromkeys(("2.2k", CHUNKED), 11 * len(CODEBOOKS) * FRAME_RATE)
    default_rate = "2.2k"
    license = "Apache-2.0 (this implementation, transformers, and the weights)"
    package = "transformers"

    def release(self, rate: str) -> Release:
        """The same weights either way; no revision is pinned yet."""
        return RELEASE

    def info(self, rate: str) -> CodecInfo:
        """What is known of the tokenizer."""
        return CodecInfo(
            SAMPLE_RATE,
            FRAME_RATE,
            CODEBOOKS,
            PARAMETERS,
            "Apache-2.0",
            RELEASE.license,
            str(RELEASE),
            causal=True,
            depends_on=(LEVEL,),
            listed=rate != CHUNKED,
        )

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The tokenizer with `config.json` and `model.safetensors` in the folder `weights`.

        Raises:
            MissingError: they are not there, are damaged, or hold another model.
        """
        spec = self.spec(rate)
        config, tensors = locate(weights, pretrained.FILES, spec)
        model = load(config, tensors, spec)
        how = f"{CHUNK} frames at a time, {CONTEXT} of context" if rate == CHUNKED else "all frames at once"
        about = details([config, tensors], "transformers") | {"decoding": how}
        return Qwen3TtsCodec(CHUNK if rate == CHUNKED else None, spec, model.to(device), self.info(rate), about)


def load(config: Path, tensors: Path, spec: str) -> Any:
    """The encoder and the decoder that a configuration describes.

    Args:
        config: `config.json`.
        tensors: `model.safetensors`.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The files do not make one.
    """
    transformers = extras.load_transformers()
    import torch
    from safetensors.torch import load_file

    from .qwen3_tts_model import Decoder, Shape

    try:
        about = json.loads(config.read_text(encoding="utf-8"))
        shape = Shape.of(about["decoder_config"])
        encoder = transformers.MimiModel(transformers.MimiConfig(**about["encoder_config"]))
        found = (
            about["model_type"], about["input_sample_rate"], about["output_sample_rate"], shape.hop,
            encoder.config.frame_rate, (shape.codebook_size,) * shape.num_quantizers,
        )  # fmt: skip
        if found != ("qwen3_tts_tokenizer_12hz", SAMPLE_RATE, SAMPLE_RATE, HOP, FRAME_RATE, CODEBOOKS):
            raise ValueError(f"model type, rates, hop, frame rate and codebooks are {found}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MissingError(f"{spec}: {config} describes no such tokenizer ({error!r})") from error
    with torch.device("meta"):
        decoder = Decoder(shape)
    for part in ("upsample", "decoder_transformer", "decoder"):  # of Mimi's own decoder
        if part in dict(encoder.named_children()):
            setattr(encoder, part, None)
    try:
        state = load_file(tensors)
        decoder.load_state_dict(dict(plain(state)), strict=True, assign=True)
        encoder.load_state_dict(dict(mimi(state, encoder.state_dict())), strict=True)
    except Exception as error:  # safetensors and torch each raise their own
        raise MissingError(f"{spec}: the tensors in {tensors} are not those of {config} ({error})") from error
    return torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder})


def plain(state: Mapping[str, "Tensor"]) -> Iterator[tuple[str, "Tensor"]]:
    """The decoder's tensors under this project's names, and its codebooks as what they stand for."""
    import torch

    books: dict[tuple[int, int], Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith("decoder."):
            continue
        name = name.removeprefix("decoder.")
        if found := re.fullmatch(r"quantizer\.rvq_(first|rest)\.vq\.layers\.(\d+)\._codebook\.embedding_sum", name):
            usage = state[f"decoder.{name.removesuffix('embedding_sum')}cluster_usage"].float()
            books[found[1] == "rest", int(found[2])] = tensor.float() / usage.clamp(min=1e-5)[:, None]
        elif found := re.fullmatch(r"quantizer\.rvq_(first|rest)\.output_proj\.weight", name):
            yield f"{found[1]}.weight", tensor.float()
        elif not name.startswith("quantizer."):  # what is left of it serves encoding, which this decoder never does
            yield name, tensor.float()
    yield "books", torch.stack([books[key] for key in sorted(books)])


def mimi(state: Mapping[str, "Tensor"], expected: Mapping[str, "Tensor"]) -> Iterator[tuple[str, "Tensor"]]:
    """The encoder's tensors; transformers has since moved parts of Mimi.

    Args:
        state: Under upstream's names.
        expected: Under the names of today.

    Yields:
        Names of today, and tensors.
    """
    for name, tensor in state.items():
        if name.startswith("encoder."):
            name = name.removeprefix("encoder.")
            moved = f"encoder.{name}" if not name.startswith("encoder.") else name.replace(".", ".encoder_seanet.", 1)
            yield moved if name not in expected and moved in expected else name, tensor


FAMILY = Qwen3TtsFamily()

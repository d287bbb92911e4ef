"""Qwen3-TTS-Tokenizer-12Hz (Qwen team, 2026, arXiv 2601.15621): 24 kHz, 12.5 frames/s, 16 codebooks of 2048, causal.

It has Mimi's encoder (from transformers) and a decoder of its own (qwen3_tts_model.py). Upstream decodes 300 frames at
a time with 25 frames of context, although the attention reaches 72 frames back, so beyond 24 s its output differs from
decoding everything at once. `2.2k` decodes everything at once, `2.2k-chunked` like upstream.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.codecs import LEVEL, Codec, CodecInfo
from evalkit.environment import extras
from evalkit.errors import MissingError

from . import pretrained
from .network import RANDOM, NetworkCodec, draw, spread
from .tensors import assemble, configured, lay_out, read
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
PUBLISHED = {
    "codebook_size": 2048, "num_quantizers": 16, "codebook_dim": 512, "latent_dim": 1024, "hidden_size": 512,
    "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 16,
    "head_dim": 64, "sliding_window": 72, "rope_theta": 10_000, "rms_norm_eps": 1e-5, "decoder_dim": 1536,
    "upsampling_ratios": [2, 2], "upsample_rates": [8, 5, 4, 3], "attention_bias": False, "hidden_act": "silu",
}  # fmt: skip
"""The `decoder_config` of its `config.json`; the encoder has transformers' defaults for Mimi."""
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
    published = RELEASE
    package = "transformers"

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
        config, path = locate(weights, pretrained.FILES, spec)
        model = load(config, path, spec)
        how = f"{CHUNK} frames at a time, {CONTEXT} of context" if rate == CHUNKED else "all frames at once"
        about = details([config, path], "transformers") | {"decoding": how}
        return Qwen3TtsCodec(CHUNK if rate == CHUNKED else None, spec, model.to(device), self.info(rate), about)

    def random(self, rate: str, device: str = "cpu") -> Codec:
        """Encoder and decoder as released, with random weights."""
        import torch

        from .qwen3_tts_model import Decoder, Shape

        def make() -> Any:
            parts = {"encoder": mimi_encoder(extras.load_transformers().MimiConfig()), "decoder": Decoder(shape)}
            return spread(torch.nn.ModuleDict(parts))

        shape, chunk = Shape.of(PUBLISHED), CHUNK if rate == CHUNKED else None
        return Qwen3TtsCodec(chunk, self.spec(rate), draw(make, device), self.info(rate), RANDOM)


def load(config: Path, path: Path, spec: str) -> Any:
    """The encoder and the decoder that a configuration describes.

    Args:
        config: `config.json`.
        path: `model.safetensors`.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The files do not make one.
    """
    transformers = extras.load_transformers()
    import torch

    from .qwen3_tts_model import Decoder, Shape

    def released(about: Mapping[str, Any]) -> tuple[Any, Shape]:
        mimi_config, shape = transformers.MimiConfig(**about["encoder_config"]), Shape.of(about["decoder_config"])
        found = (
            about["model_type"], about["input_sample_rate"], about["output_sample_rate"], shape.hop,
            mimi_config.frame_rate, (shape.codebook_size,) * shape.num_quantizers,
        )  # fmt: skip
        if found != ("qwen3_tts_tokenizer_12hz", SAMPLE_RATE, SAMPLE_RATE, HOP, FRAME_RATE, CODEBOOKS):
            raise ValueError(f"model type, rates, hop, frame rate and codebooks are {found}")
        return mimi_config, shape

    (mimi_config, shape), state = configured(config, released, spec, "such tokenizer"), read(path, spec)
    decoder = assemble(Decoder, lambda _: shape, plain(state), [path], spec)
    try:
        lay_out(lambda: transformers.MimiModel(mimi_config), path)
        encoder = mimi_encoder(mimi_config)
        encoder.load_state_dict(dict(mimi(state, encoder.state_dict())), strict=True)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise MissingError(f"{spec}: the tensors in {path} are not those of {config} ({error})") from error
    return torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder})


def mimi_encoder(config: Any) -> Any:
    """A MimiModel without its decoder.

    Args:
        config: A MimiConfig.

    Returns:
        The model.
    """
    encoder = extras.load_transformers().MimiModel(config)
    for part in ("upsample", "decoder_transformer", "decoder"):
        if part in dict(encoder.named_children()):
            setattr(encoder, part, None)
    return encoder


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

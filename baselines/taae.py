"""TAAE (Parker et al., 2024, arXiv 2411.19842), released as Stable Codec: 16 kHz, 25 frames/s, 1, 2 or 4 tokens each.

This project's own implementation (taae_model.py) has the sliding window without flash-attn. One set of weights serves
all rates; labels are upstream's names of the presets, whose exact bitrates are 388, 697 and 951 bit/s. The released
checkpoint is `stable-codec-speech-16k`; that of the TAAE paper is `-base`, which --weights also accepts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evalkit.audio import Wave
from evalkit.codecs import PADDING, CodecInfo, Codes

from .network import NetworkCodec
from .tensors import assemble, configured, read
from .weights import Release, ReleasedFamily, details, locate

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 16_000
HOP = 640
LATENTS = 6
PRESETS = {"0.4k": (6, (1.0,)), "0.7k": (5, (1.0, 0.25)), "1k": (3, (1.0, 0.5, 0.25, 0.125))}
"""Levels of each latent, and the scale of each token's stage. The paper on NanoCodec uses 0.7k."""
CONFIG, TENSORS = "model_config.json", ("model.safetensors", "model.ckpt")
RELEASE = Release(
    "stabilityai/stable-codec-speech-16k",
    (CONFIG, TENSORS[0]),
    "Stability AI Community License",
    terms="https://huggingface.co/stabilityai/stable-codec-speech-16k",
    other_names={TENSORS[0]: TENSORS[1]},
)
"""Behind a license: its listing was not seen. Upstream takes `model.safetensors`, and `model.ckpt` only without it."""
PARAMETERS = 950_000_000
"""As published, rounded: the released configuration is behind the license, and was not seen."""

LOUDNESS = -20.0
"""LUFS that the model was trained at."""
LEVEL = f"{LOUDNESS:g} LUFS for the codec, given back after it by a gain that is sent"
GAIN_BITS = 32
BLOCK = SAMPLE_RATE * 2 // 5
"""Samples over which loudness is measured."""
ENERGY = 1e-6
"""Mean square below which upstream takes audio for silence and leaves it alone."""


class TaaeCodec(NetworkCodec):
    """A `Taae`: N = ceil(T / 640).

    Audio is brought to -20 LUFS before it is encoded, and its level given back after decoding, so that metrics that
    mind the level compare like with like. The gain is side information of an utterance, which upstream does not send:
    its bits are added here. Codes without it decode at -20 LUFS, as upstream's do.
    """

    def __init__(self, preset: str, *common: Any) -> None:
        super().__init__(*common)
        self._preset = PRESETS[preset]

    def tokens(self, audio: "Tensor") -> "Tensor":
        return self._model.encode(audio[None], *self._preset)[0]

    def audio(self, tokens: "Tensor") -> "Tensor":
        return self._model.decode(tokens[None], *self._preset)[0]

    def encode(self, wav: Wave) -> Codes:
        """Indices [K, N] of `wav` [T] at 16 kHz, and the gain."""
        factor = gain(np.pad(wav, (0, -len(wav) % HOP)))  # upstream measures what it pads
        codes = super().encode((wav * factor).astype(np.float32))
        return replace(codes, extra={"gain": np.array([factor], np.float32)}, extra_bits=GAIN_BITS)

    def decode(self, codes: Codes) -> Wave:
        """Audio [codes.length] at 16 kHz, at the level of what was encoded."""
        return super().decode(codes) / codes.extra.get("gain", np.ones(1, np.float32))


def books(preset: str) -> tuple[int, ...]:
    """The codebook sizes of a preset."""
    levels, scales = PRESETS[preset]
    return (levels**LATENTS,) * len(scales)


class TaaeFamily(ReleasedFamily):
    """The released checkpoint behind its presets."""

    name = "taae"
    rates: Mapping[str, float] = {
        preset: SAMPLE_RATE / HOP * sum(map(log2, books(preset))) for preset in ("0.7k", "0.4k", "1k")
    }
    default_rate = "0.7k"
    license = "Apache-2.0 (this implementation); Stability AI Community License, gated (weights)"
    published = RELEASE

    def note(self, rate: str) -> str:
        """Which of the two checkpoints it is."""
        return "the checkpoint is stable-codec-speech-16k, a later finetune of the paper's stable-codec-speech-16k-base"

    def info(self, rate: str) -> CodecInfo:
        """What is known of the checkpoint."""
        return CodecInfo(
            SAMPLE_RATE, SAMPLE_RATE / HOP, books(rate), PARAMETERS, "Apache-2.0", "Stability Community", str(RELEASE),
            causal=False, depends_on=(PADDING,), extra_bits=GAIN_BITS,
        )  # fmt: skip

    def open(self, weights: Path, rate: str, device: str) -> NetworkCodec:
        """The codec with `model_config.json` and `model.safetensors` or `model.ckpt` in a folder; or with a file of
        tensors that has `model_config.json` beside it.

        Raises MissingError where they are not there, are damaged, hold anything but numbers, or are of another model.
        """
        spec = self.spec(rate)
        path = weights
        if not weights.is_file():
            path = next(filter(Path.is_file, (weights / name for name in TENSORS)), weights / TENSORS[-1])
        config, path = locate(path.parent, (CONFIG, path.name), spec)
        model = load(config, path, spec)
        about = details([config, path]) | {"level": LEVEL}
        return TaaeCodec(rate, spec, model.to(device), self.info(rate), about)


def load(config: Path, path: Path, spec: str) -> Any:
    """The model that a configuration describes. Nothing in the files is executed.

    Args:
        config: `model_config.json`.
        path: A checkpoint.
        spec: What the codec is called, for messages.

    Returns:
        The model, with its weights.

    Raises:
        MissingError: The files do not make one.
    """
    from .taae_model import Shape, Taae

    def released(about: Mapping[str, Any]) -> Shape:
        shape = Shape.of(about)
        if (about["sample_rate"], shape.hop, shape.latents) != (SAMPLE_RATE, HOP, LATENTS):
            raise ValueError(f"{about['sample_rate']} Hz, hop {shape.hop} and {shape.latents} latents")
        return shape

    expected = f"model of {SAMPLE_RATE} Hz, hop {HOP} and {LATENTS} latents"
    shape = configured(config, released, spec, expected)
    return assemble(Taae, lambda _: shape, plain(read(path, spec)), [path], spec)


def plain(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, "Tensor"]]:
    """The tensors under this project's names, with weight normalisation and the scales of branches folded. A checkpoint
    of torch has them in its `state_dict`."""
    from nanocodec.layers import fold_tensors

    state: Mapping[str, Tensor] = checkpoint.get("state_dict", checkpoint)
    for name, tensor in fold_tensors(state).items():
        if name.endswith(("_scale.scale", ".rope.inv_freq")):
            continue  # come with what they scale; follow from the width
        for branch, last in (("self_attn", "to_out"), ("ff", "ff.2")):
            block, found, _ = name.partition(f"{branch}.{last}.")
            if found and (scale := state.get(f"{block}{branch}_scale.scale")) is not None:
                tensor = tensor * scale.view(-1, *(1,) * (tensor.dim() - 1))
        for theirs, ours in (
            (".layers.", "."), (".ff.ff.0.proj.", ".ff.proj."), (".ff.ff.2.", ".ff.out."),
            ("norm.gamma", "norm.weight"), ("norm.beta", "norm.bias"),
        ):  # fmt: skip
            name = name.replace(theirs, ours)
        yield name, tensor


def gain(wav: Wave) -> float:
    """What upstream multiplies `wav` [T] at 16 kHz by: it brings it to -20 LUFS, or, where that would be beyond full
    scale, its peak to 0.95. 1 for what has no loudness: near silence, and less than 0.4 s (where upstream fails)."""
    peak = float(np.abs(wav).max(initial=0))
    if len(wav) < BLOCK or float(np.square(wav, dtype=np.float64).mean()) < ENERGY:
        return 1.0
    factor = 10 ** ((LOUDNESS - loudness(wav)) / 20)
    if not np.isfinite(factor):  # nothing above -70 LUFS
        return 1.0
    return 0.95 / peak if factor * peak > 1 else factor


def loudness(wav: Wave) -> float:
    """LUFS of `wav` [T] at 16 kHz, T of at least 0.4 s, by ITU-R BS.1770-4, with its two filters approximated as
    torchaudio's `Loudness` does, of which upstream makes use: clipped at full scale behind each. -inf or nan where
    every block is below -70."""
    from scipy.signal import lfilter

    filtered = wav.astype(np.float64)
    for top, bottom in (shelf(1500, 4.0, 0.5**0.5), highpass(38, 0.5)):
        filtered = np.clip(lfilter(top, bottom, filtered), -1, 1)
    blocks = np.lib.stride_tricks.sliding_window_view(np.square(filtered), BLOCK)[:: BLOCK // 4].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        level = lufs(blocks)
        loud = level > -70
        loud &= level > lufs(blocks[loud].sum() / loud.sum()) - 10
        return float(lufs(blocks[loud].sum() / loud.sum()))


def lufs(energy: Any) -> Any:
    """Loudness of a mean energy.

    Args:
        energy: Weighted, full scale +-1.

    Returns:
        LUFS, by ITU-R BS.1770-4.
    """
    return -0.691 + 10 * np.log10(energy)


def shelf(hertz: float, decibel: float, quality: float) -> tuple[list[float], list[float]]:
    """A filter that raises what is above a frequency (Bristow-Johnson's cookbook).

    Args:
        hertz: Where it begins.
        decibel: By how much.
        quality: How steep it is.

    Returns:
        Numerator and denominator.
    """
    turn = 2 * np.pi * hertz / SAMPLE_RATE
    root = 10 ** (decibel / 40)
    cosine, bend = np.cos(turn), 2 * root**0.5 * np.sin(turn) / (2 * quality)
    up, down = root + 1, root - 1
    top = [root * (up + down * cosine + bend), -2 * root * (down + up * cosine), root * (up + down * cosine - bend)]
    return top, [up - down * cosine + bend, 2 * (down - up * cosine), up - down * cosine - bend]


def highpass(hertz: float, quality: float) -> tuple[list[float], list[float]]:
    """A filter that takes away what is below a frequency (Bristow-Johnson's cookbook).

    Args:
        hertz: Where it begins.
        quality: How steep it is.

    Returns:
        Numerator and denominator.
    """
    turn = 2 * np.pi * hertz / SAMPLE_RATE
    cosine, bend = np.cos(turn), np.sin(turn) / (2 * quality)
    half = (1 + cosine) / 2
    return [half, -2 * half, half], [1 + bend, -2 * cosine, 1 - bend]


FAMILY = TaaeFamily()

"""Compare this project's TAAE with upstream's own classes: same tokens, same samples, same gain.

Takes checkouts of Stability-AI/stable-audio-tools (commit 50049e3) and Stability-AI/stable-codec (8535544). Needs
torch and einops: what upstream imports besides and its inference does not use is answered by empty modules. Seeded
weights are given to upstream's model and, saved in the public format, to `evalkit.baselines.taae`. Then both encode
and decode the same audio. Exits with 1 where a token differs or a sample is further away than 1e-4. The gain to -20
LUFS is compared where torchaudio, whose loudness upstream takes, can be imported.

Upstream has its sliding window from the package flash-attn only, on a GPU and in half precision. Here upstream's
attention runs in float32, with the window written out, place by place, as flash-attn defines it.

    python tests/oracle/taae.py AUDIO_TOOLS CODEC                  narrow models and one of published width
    python tests/oracle/taae.py AUDIO_TOOLS CODEC --golden FILE    write the golden vectors of the ordinary tests
"""

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from evalkit.baselines.taae import PRESETS, gain, load
from evalkit.baselines.taae_model import quantize
from evalkit.baselines.testing import seeded
from evalkit.baselines.testing.taae import SNAKE, save_taae, taae_config, taae_state

TOLERANCE = 1e-4
LENGTHS = (1, 639, 640, 641, 16_001, 48_000)
NAMES = {"0.4k": "1x46656_400bps", "0.7k": "2x15625_700bps", "1k": "4x729_1000bps"}
PUBLISHED = {"channels": 1024, "c_mults": [1, 1], "transformer_depths": [8, 20], "sliding_window": [63, 64]}
"""Has the published number of parameters; that the released model looks like this is not known."""
NARROW: dict[str, dict[str, Any]] = {"windowed": {}, "snake": SNAKE}
GOLDEN_LENGTH = 16_000
STRIDE = 31
"""Of the golden audio every so many samples one is kept."""
MARGIN = 2e-5
"""Golden latents are further than this from where their level changes, some ten times what rounding moves them."""


def import_upstream(audio_tools: Path, codec: Path) -> None:
    """Make upstream's modules importable without what only its training, or its other models, need."""
    for name in ("stable_audio_tools", "stable_audio_tools.models", "stable_audio_tools.inference", "stable_codec"):
        package = ModuleType(name)  # instead of an __init__.py that imports everything
        root = codec if name == "stable_codec" else audio_tools
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package
    blank = {
        "alias_free_torch": ["Activation1d"],
        "stable_audio_tools.inference.sampling": ["sample"],
        "stable_audio_tools.models.diffusion": [
            "ConditionedDiffusionModel", "DAU1DCondWrapper", "UNet1DCondWrapper", "DiTWrapper",
        ],
    }  # fmt: skip
    warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        blank |= {"torchaudio": ["transforms"], "torchaudio.transforms": ["Resample", "Loudness"]}
    for name, members in blank.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__dict__.update(dict.fromkeys(members))


def upstream(config: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """Upstream's model that `config` describes, with exactly the tensors `state`."""
    with contextlib.redirect_stdout(io.StringIO()):  # where it says that flash-attn is not there
        from stable_audio_tools.models.autoencoders import create_autoencoder_from_config

        model = create_autoencoder_from_config(config).eval().requires_grad_(False)
    model.load_state_dict(state, strict=True)
    return model


def windowed(left: int, right: int) -> Any:
    """Upstream's `torch.nn.functional`, in which attention sees `left` and `right` places beside its own."""

    def attention(q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False) -> Tensor:
        length = q.shape[2]
        out = torch.empty_like(v)
        for i in range(length):
            keys = [j for j in range(length) if (left < 0 or j >= i - left) and (right < 0 or j <= i + right)]
            weights = (k[:, :, keys] * q[:, :, i, None]).sum(-1) / q.shape[-1] ** 0.5
            out[:, :, i] = (weights.softmax(-1)[..., None] * v[:, :, keys]).sum(2)
        return out

    return SimpleNamespace(**{**vars(F), "scaled_dot_product_attention": attention})


def audio(length: int) -> Tensor:
    """Seeded noise [length] that swells and fades."""
    return 0.3 * seeded("audio", (length,), 0) * torch.sin(torch.arange(length) / 3000)


def encode(model: Any, preset: str, wav: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Upstream's latents [1, 6, N] and tokens [1, K, N] of `wav` [T], and its bottleneck."""
    from stable_codec.residual_fsq import ResidualFSQBottleneck

    levels, scales = PRESETS[preset]
    bottleneck = ResidualFSQBottleneck([([levels] * 6, scale) for scale in scales])
    with contextlib.redirect_stdout(io.StringIO()):
        latents = model.encode_audio(model.preprocess_audio_for_encoder(wav, 16_000), skip_bottleneck=True)
    return latents, torch.stack(bottleneck.encode(latents), 1)[..., 0], bottleneck


def decode(model: Any, bottleneck: Any, tokens: Tensor) -> Tensor:
    """Upstream's audio [N * 640] of tokens [1, K, N]."""
    latents = bottleneck.decode([row[..., None] for row in tokens.unbind(1)]).float()
    with contextlib.redirect_stdout(io.StringIO()):
        return model.decode_audio(latents, skip_bottleneck=True)[0, 0]


def pair(options: dict[str, Any]) -> tuple[Any, Any]:
    """Upstream's model and this project's, with the same weights."""
    config = taae_config(**options)
    state = taae_state(config)
    with tempfile.TemporaryDirectory() as folder:
        save_taae(config, state, Path(folder))
        ours = load(Path(folder) / "model_config.json", Path(folder) / "model.ckpt", "oracle")
    return upstream(config, state), ours


def set_window(options: dict[str, Any] | None) -> None:
    """Upstream's attention with the window of `options`; without any, as upstream runs where flash-attn is not."""
    from stable_audio_tools.models import transformer

    transformer.F = (
        F if options is None else windowed(*taae_config(**options)["model"]["encoder"]["config"]["sliding_window"])
    )


def compare(what: str, options: dict[str, Any], lengths: tuple[int, ...] = LENGTHS) -> bool:
    theirs, ours = pair(options)
    set_window(options)
    different, distance, peak, seen = 0, 0.0, 0.0, set()
    with torch.inference_mode():
        for length in lengths:
            for preset in PRESETS if length == lengths[-1] else ("0.7k",):
                wav = audio(length)
                _, tokens, bottleneck = encode(theirs, preset, wav)
                different += int((ours.encode(wav[None], *PRESETS[preset]) != tokens).sum())
                seen |= set(tokens.flatten().tolist())
                expected, found = decode(theirs, bottleneck, tokens), ours.decode(tokens, *PRESETS[preset])[0]
                assert found.shape == expected.shape, (found.shape, expected.shape)
                distance = max(distance, float((found - expected).abs().max()))
                peak = max(peak, float(expected.abs().max()))
        set_window(None)
        _, without, _ = encode(theirs, preset, wav)
    count = sum(p.numel() for p in ours.parameters())
    print(
        f"{what} ({count:,} parameters), {len(lengths)} lengths: {different} tokens differ ({len(seen)} distinct; "
        f"without a window {int((without != tokens).sum())} would), audio within {distance:.1e} of peak {peak:.2f}",
        flush=True,
    )
    return different == 0 and distance <= TOLERANCE


def signals() -> dict[str, Tensor]:
    """What the gain is compared on: [T] at 16 kHz."""
    wav = audio(32_000)
    burst = wav.clone()
    burst[8_000:] *= 0.01  # below the relative gate
    return {
        "plain": wav,
        "quiet": 0.02 * wav,
        "loud": 4 * wav,
        "burst": burst,
        "silence": 1e-4 * wav,
        "short": wav[:6_400],
    }


def their_gains() -> dict[str, float]:
    """What upstream multiplies `signals` by; empty where torchaudio cannot be used."""
    from stable_audio_tools.data.utils import VolumeNorm

    if not hasattr(sys.modules["torchaudio"], "__file__"):  # it is a blank
        return {}
    normalise = VolumeNorm([-20, 0], 16_000)
    return {name: float(normalise(wav[None]).abs().max() / wav.abs().max()) for name, wav in signals().items()}


def compare_gains() -> bool:
    theirs = their_gains()
    ours = {name: gain(wav.numpy()) for name, wav in signals().items()}
    ratios = {name: ours[name] / theirs[name] for name in theirs}
    if not theirs:
        print("gain: not compared, since torchaudio cannot be imported")
    else:
        print(
            "gain: " + ", ".join(f"{name} {theirs[name]:.3f} (ours {ratio - 1:+.0e})" for name, ratio in ratios.items())
        )
    return all(abs(ratio - 1) < TOLERANCE for ratio in ratios.values())


def golden(path: Path) -> None:
    """What upstream makes of `audio` with the narrow seeded models, and what it multiplies `signals` by."""
    gains = their_gains()
    if not gains:
        raise SystemExit("golden gains need torchaudio")
    arrays: dict[str, Any] = {f"gain-{name}": np.float32(value) for name, value in gains.items()}
    wav = audio(GOLDEN_LENGTH)
    for what, options in NARROW.items():
        theirs, _ = pair(options)
        set_window(options)
        for preset, (levels, scales) in PRESETS.items():
            with torch.inference_mode():
                latents, tokens, bottleneck = encode(theirs, preset, wav)
                decoded = decode(theirs, bottleneck, tokens)
            near = any(bool((quantize(latents + shift, levels, scales) != tokens).any()) for shift in (-MARGIN, MARGIN))
            print(f"{what} {preset}: {len(set(tokens.flatten().tolist()))} distinct of {tokens.numel()} tokens")
            if near:
                raise SystemExit(f"too near for golden vectors: {MARGIN}")
            arrays[f"{what}-{preset}-tokens"] = tokens[0].numpy().astype(np.int32)
        arrays[f"{what}-audio"] = decoded[::STRIDE].numpy()
    np.savez_compressed(path, **arrays)
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio_tools", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("--golden", type=Path, metavar="FILE")
    parser.add_argument("--narrow", action="store_true", help="leave out the model of published width")
    args = parser.parse_args()
    import_upstream(args.audio_tools, args.codec)
    if args.golden:
        golden(args.golden)
        return 0
    results = [compare(f"narrow, {what}", options) for what, options in NARROW.items()]
    if not args.narrow:
        results.append(compare("published width", PUBLISHED, (32_000,)))
    return 0 if all([*results, compare_gains()]) else 1


if __name__ == "__main__":
    sys.exit(main())

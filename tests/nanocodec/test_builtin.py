"""The built-in weights: they load, they are the ones the golden values were made with, and a changed weight shows.

`python tests/nanocodec/test_builtin.py` rewrites the golden values after the weights were replaced on purpose.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from nanocodec.config import get_config
from nanocodec.model import NanoCodec

GOLDEN = Path(__file__).parent / "golden" / "mini-1.1k.json"


def voice() -> torch.Tensor:
    """One second [1, T] of a gliding harmonic tone with two moving resonances, after a fifth of silence."""
    time = np.arange(22050) / 22050
    pitch = 120 + 40 * np.sin(2 * np.pi * 1.5 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / 22050
    formants = 500 + 200 * np.sin(5 * time), 1500 + 500 * np.cos(4 * time)
    wave = sum(
        np.sin(k * phase) * sum(np.exp(-(((k * pitch - formant) / 200) ** 2)) for formant in formants)
        for k in range(1, 25)
    )
    return torch.tensor(0.1 * wave * (time > 0.2), dtype=torch.float32)[None]


@torch.no_grad()
def run(codec: NanoCodec) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes of `voice` [K, N], and every 97th sample of what the golden codes decode to."""
    codes, _ = codec.encode(voice())
    golden = torch.tensor(json.loads(GOLDEN.read_text())["codes"]) if GOLDEN.exists() else codes[0]
    return codes[0], codec.decode(golden[None])[0, ::97]


def differences(codec: NanoCodec) -> tuple[float, float]:
    """Share of codes that differ from the golden ones, and the greatest difference of samples."""
    golden = json.loads(GOLDEN.read_text())
    codes, samples = run(codec)
    return (
        float((codes != torch.tensor(golden["codes"])).float().mean()),
        float((samples - torch.tensor(golden["samples"])).abs().max()),
    )


@pytest.fixture
def codec() -> NanoCodec:
    return NanoCodec.builtin()


def test_it_is_the_mini_variant(codec: NanoCodec) -> None:
    assert codec.config == get_config("mini-1.1k")
    assert codec.config.bitrate == pytest.approx(1097.7, abs=0.05)
    assert not codec.training
    assert all(parameter.dtype == torch.float32 for parameter in codec.parameters())


def test_the_shipped_file_is_at_most_16_mb() -> None:
    from nanocodec.checkpoint import resolve

    path = resolve("mini-1.1k")
    assert path.stat().st_size <= 16e6
    assert path.with_suffix(".md").exists()


def test_golden_codes_and_samples(codec: NanoCodec) -> None:
    codes_differ, samples_differ = differences(codec)
    assert codes_differ <= 0.02  # a latent on the edge between two levels may round either way on another machine
    assert samples_differ <= 1e-4


def test_a_changed_weight_shows(codec: NanoCodec) -> None:
    with torch.no_grad():
        codec.audio_encoder.post_conv.conv.weight[::4] *= 1.2
        codec.audio_decoder.res_layers[1].res_blocks[0].res_blocks[0].skip_conv.conv.weight[5] *= 1.5
    codes_differ, samples_differ = differences(codec)
    assert codes_differ > 0.02
    assert samples_differ > 1e-4


def test_decoded_audio_resembles_its_input(codec: NanoCodec) -> None:
    """Loudness over time follows, which random weights do not achieve."""
    audio = voice()
    with torch.no_grad():
        decoded = codec.decode(codec.encode(audio)[0])[:, : audio.shape[1]]
    frames = [x[0, : 50 * 441].view(50, 441).square().mean(1).add(1e-8).log() for x in (audio, decoded)]
    assert float(torch.corrcoef(torch.stack(frames))[0, 1]) > 0.8


if __name__ == "__main__":
    GOLDEN.unlink(missing_ok=True)
    made_codes, made_samples = run(NanoCodec.builtin())
    assert math.isfinite(float(made_samples.sum()))
    text = json.dumps(
        {"codes": made_codes.tolist(), "samples": [round(x, 7) for x in made_samples.tolist()]}, separators=(",", ":")
    )
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(text + "\n")

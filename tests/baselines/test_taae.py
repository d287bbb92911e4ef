"""TAAE: `model_config.json` and a checkpoint as published, with seeded weights, against upstream's own output."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import taae
from evalkit.baselines.taae_model import attend
from evalkit.baselines.testing import seeded
from evalkit.baselines.testing.taae import SNAKE, save_taae, taae_config, taae_state
from evalkit.errors import MissingError
from evalkit.pipeline.choice import choose

GOLDEN = Path(__file__).parent / "golden" / "taae.npz"
"""Made by upstream's own code: tests/oracle/taae.py --golden."""
STRIDE = 31
OPTIONS = {"windowed": {}, "snake": SNAKE}
build = taae.FAMILY.build_from


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Both kinds of file, with two shapes of model."""
    paths = {name: tmp_path_factory.mktemp(name) for name in OPTIONS}
    for name, file in (("windowed", "model.ckpt"), ("snake", "model.safetensors")):
        config = taae_config(**OPTIONS[name])
        save_taae(config, taae_state(config), paths[name], file)
    return paths


def noise(length: int) -> np.ndarray:
    """Seeded noise that swells and fades, as in the comparison with upstream."""
    return (0.3 * seeded("audio", (length,), 0) * torch.sin(torch.arange(length) / 3000)).numpy()


@pytest.mark.parametrize("preset", list(taae.PRESETS))
def test_taae_keeps_the_protocol(folders, preset: str) -> None:
    codec = build(folders["windowed"], preset)
    testing.check_codec(codec, taae.FAMILY.rates[preset], tolerance=0.01)
    card = taae.FAMILY.info(preset)
    assert (codec.frame_rate, codec.codebook_sizes) == (25, card.codebook_sizes)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_tokens_and_audio_are_those_of_upstream(folders, name: str, monkeypatch) -> None:
    monkeypatch.setattr(taae, "gain", lambda wav: 1.0)  # upstream was given the tensor, which it takes as it is
    wav = noise(16_000)
    with np.load(GOLDEN) as golden:
        for preset in taae.PRESETS:
            codec = build(folders[name], preset)
            codes = codec.encode(wav)
            assert np.array_equal(codes.indices, golden[f"{name}-{preset}-tokens"])
            assert len(np.unique(codes.indices)) > 20
        audio = golden[f"{name}-audio"]
    assert np.abs(codec.decode(codes)[::STRIDE] - audio).max() < 1e-4
    assert np.abs(audio).max() > 0.1


def test_the_gain_is_upstreams() -> None:
    plain = noise(32_000)
    burst = plain.copy()
    burst[8_000:] *= 0.01
    with np.load(GOLDEN) as golden:
        for name, wav in {
            "plain": plain, "quiet": 0.02 * plain, "loud": 4 * plain, "burst": burst, "silence": 1e-4 * plain,
            "short": plain[:6_400],
        }.items():  # fmt: skip
            assert taae.gain(wav) == pytest.approx(float(golden[f"gain-{name}"]), rel=1e-5), name
    assert taae.gain(plain[:6_399]) == taae.gain(np.zeros(0, np.float32)) == 1.0


def test_loudness_is_that_of_the_recommendation() -> None:
    """BS.1770: a sine of 997 Hz at full scale is -3.01 LUFS. Here 0.2 dB off, by the approximation of its filter."""
    sine = 0.1 * np.sin(2 * np.pi * 997 * np.arange(48_000) / 16_000)
    assert taae.loudness(sine) == pytest.approx(-23.01, abs=0.25)


def test_the_level_comes_back(folders) -> None:
    codec = build(folders["windowed"], "0.7k")
    quiet = 0.05 * noise(32_000)
    codes, louder = codec.encode(quiet), codec.encode(4 * quiet)
    assert np.array_equal(codes.indices, louder.indices)
    assert codes.bits == codes.indices.shape[1] * 2 * np.log2(15_625) + taae.GAIN_BITS
    assert np.allclose(codec.decode(louder), 4 * codec.decode(codes), rtol=1e-5, atol=1e-7)
    assert "-20 LUFS" in codec.details["level"]


@pytest.mark.parametrize("window", [(3, 4), (0, 0), (63, 64), (-1, 2), (-1, -1), (5000, 0)])
def test_attention_sees_its_window_and_nothing_else(window) -> None:
    length = 1100  # three parts
    q, k, v = (seeded(name, (1, 2, length, 8), 0) for name in "qkv")
    left, right = (length if reach < 0 else reach for reach in window)
    offset = np.arange(length)[None] - np.arange(length)[:, None]
    mask = torch.from_numpy((offset >= -left) & (offset <= right))
    weights = (q @ k.mT / 8**0.5).masked_fill(~mask, -torch.inf).softmax(-1)
    assert torch.allclose(attend(q, k, v, window), weights @ v, atol=1e-5)


def test_rates_are_named_and_exact() -> None:
    rates = taae.FAMILY.rates
    assert {rate: round(value) for rate, value in rates.items()} == {"0.4k": 388, "0.7k": 697, "1k": 951}
    assert choose("taae").spec == choose("taae@700").spec == "taae@0.7k"


def test_without_access_the_error_says_where_to_accept_the_license(empty_hub: Path, monkeypatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("401 Client Error. Access to model stabilityai/stable-codec-speech-16k is restricted.")

    assert taae.FAMILY.availability("0.7k").code == "needs license"
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=refuse))
    accept = r"Accept the license at https://huggingface\.co/stabilityai/stable-codec-speech-16k and log in .*--weights"
    for attempt in (taae.FAMILY.build, taae.FAMILY.fetch):
        with pytest.raises(MissingError, match=f"taae@0.7k: .*{accept}"):
            attempt("0.7k")


def test_the_hubs_folder_is_found(folders, empty_hub: Path) -> None:
    folder = empty_hub / "models--stabilityai--stable-codec-speech-16k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("f" * 40)
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / ("f" * 40)).symlink_to(folders["windowed"])
    assert taae.FAMILY.availability("1k").ready and taae.FAMILY.build("1k").codebook_sizes == (729,) * 4


def test_files_that_are_no_such_checkpoint_are_refused(folders, tmp_path: Path) -> None:
    config = taae_config()
    good = taae_state(config)
    with pytest.raises(
        MissingError, match=r"model_config\.json is not there; the weights are model_config\.json, model"
    ):
        build(tmp_path, "0.7k")
    for content in (b"", (folders["windowed"] / "model.ckpt").read_bytes()[:-5000]):
        save_taae(config, {}, tmp_path)
        (tmp_path / "model.ckpt").write_bytes(content)
        with pytest.raises(MissingError, match="cannot be opened as a checkpoint"):
            build(tmp_path, "0.7k")
    bias = "encoder.layers.0.bias"
    for wrong in (
        {},
        {k: v for k, v in good.items() if k != bias},
        good | {bias: torch.zeros(3)},
        good | {bias: "text"},
    ):
        save_taae(config, wrong, tmp_path)
        with pytest.raises(MissingError, match="are not those of a Taae"):
            build(tmp_path / "model.ckpt", "0.7k")
    save_taae(config, good | {bias: torch.zeros(1).expand(2**16, 2**16)}, tmp_path)
    with pytest.raises(MissingError, match=r"too few for tensors of 17,\d{3},\d{3},\d{3} bytes"):
        build(tmp_path / "model.ckpt", "0.7k")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conformer": True}, "options that are not implemented: {'conformer': True}"),
        ({"use_dilated_conv": True}, "use_dilated_conv"),
        ({"strides": [1, 4]}, "a hop of 640, but the strides make it 1280"),
        ({"strides": [2, 1]}, "a stage of stride 1 from width 128 to 256"),
        ({"transformer_depths": [1]}, "2, 2 and 1 stages"),
        ({"latent_dim": 5}, "latent_dim"),
    ],
)
def test_what_is_not_implemented_is_said(tmp_path: Path, options, message: str) -> None:
    save_taae(taae_config(**options), {}, tmp_path)
    with pytest.raises(MissingError, match="describes no model of 16000 Hz, hop 640 and 6 latents") as caught:
        build(tmp_path, "0.7k")
    assert message in str(caught.value)


def test_other_models_are_refused(tmp_path: Path) -> None:
    config = taae_config()
    model = config["model"]
    for wrong in (
        [],
        config | {"sample_rate": 44_100},
        config | {"model": model | {"io_channels": 2}},
        config | {"model": model | {"pretransform": {"type": "wavelet", "config": {}}}},
        config | {"model": model | {"encoder": {"type": "oobleck", "config": {}}}},
    ):
        (tmp_path / "model.ckpt").touch()
        (tmp_path / "model_config.json").write_text(json.dumps(wrong))
        with pytest.raises(MissingError, match="describes no model of 16000 Hz"):
            build(tmp_path, "0.7k")

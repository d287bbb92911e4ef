"""Weights in all their formats, and what is said about those that do not fit or are not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanocodec import releases
from nanocodec.checkpoint import FORMAT, CheckpointError, MismatchError, MissingWeightsError, convert, load, save
from nanocodec.cli import main
from nanocodec.config import VARIANTS, CodecConfig
from nanocodec.model import NanoCodec
from nanocodec.testing import nemo_bytes, nemo_config, seeded_audio, seeded_tensors, tiny, write_nemo

CONFIG = tiny()
ONE = "audio_decoder.res_layers.1.res_blocks.0.res_blocks.1.input_conv.conv."
G, V = "parametrizations.weight.original0", "parametrizations.weight.original1"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return seeded_tensors(CONFIG)


@pytest.fixture
def nemo_file(tmp_path: Path, tensors: dict[str, Tensor]) -> Path:
    return write_nemo(tmp_path / "model.nemo", CONFIG, tensors)


def sound(model: NanoCodec) -> Tensor:
    with torch.inference_mode():
        return model.decode(model.encode(seeded_audio(60)[None])[0])


def test_every_way_in_gives_the_same_model(tmp_path: Path, nemo_file: Path, tensors: dict[str, Tensor]) -> None:
    model = NanoCodec.from_pretrained(nemo_file)
    assert not model.training
    assert not [name for name, _ in model.named_parameters() if ".parametrizations." in name]
    expected = sound(model)
    gzipped = write_nemo(tmp_path / "gz.nemo", CONFIG, tensors, compress=True)
    old_names = {k.replace(G, "weight_g").replace(V, "weight_v"): v for k, v in tensors.items()}
    training = {
        "discriminator.discriminators.0.conv.weight": torch.ones(3),
        "mel_loss_fn.mel_features.0.window": torch.ones(8),
        "stft_loss_fn.loss_fns.0.window": torch.ones(8),
    }
    older = write_nemo(tmp_path / "older.nemo", CONFIG, old_names | training)
    folder = tmp_path / "out"
    written = convert(nemo_file, folder)
    unfolded = tmp_path / "unfolded.safetensors"
    save_file(tensors, unfolded, metadata={"format": FORMAT, "config": json.dumps(CONFIG.to_dict())})
    for source in (gzipped, older, folder, written, unfolded):
        assert torch.equal(sound(NanoCodec.from_pretrained(str(source))), expected), source
    stored = load_file(written)
    assert not any("parametrizations" in name for name in stored)
    assert CodecConfig.from_dict(json.loads((folder / "config.json").read_text())) == CONFIG


def test_a_discriminator_is_read_once_and_damage_elsewhere_is_named(
    tmp_path: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nanocodec import nemo

    path = write_nemo(tmp_path / "m.nemo", CONFIG, tensors | {"discriminator.weight": torch.full((1 << 20,), 0.123)})
    data, read = path.read_bytes(), 0
    whole = nemo._Part.readinto

    def count(self: nemo._Part, buffer: Any) -> int:
        nonlocal read
        done = whole(self, buffer)
        read += done
        return done

    monkeypatch.setattr(nemo._Part, "readinto", count)
    load(path)
    assert 4 << 20 < read < 1.1 * len(data)
    weight = tensors[ONE + V].numpy().tobytes()
    at = data.index(weight) + len(weight) // 2
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(CheckpointError, match=f"checksum of {ONE + V} is wrong"):
        load(path)


def test_folded_weights_are_those_of_torchs_own_weight_norm(nemo_file: Path, tensors: dict[str, Tensor]) -> None:
    theirs = NanoCodec(CONFIG)
    theirs.load_state_dict(tensors)
    assert torch.equal(theirs.fold().state_dict()[ONE + "weight"], load(nemo_file).state_dict()[ONE + "weight"])


def test_a_released_configuration_gets_its_name() -> None:
    from nanocodec.nemo import _config

    for name in ("0.6k", "1.78k", "1.89k", "lfsc"):
        assert _config(nemo_config(VARIANTS[name])) == VARIANTS[name]


def test_all_that_does_not_fit_is_named(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    changed = dict(tensors)
    gone = [name for name in tensors if name.startswith("audio_encoder.res_layers.0.") and name.endswith("bias")]
    for name in gone:
        del changed[name]
    changed["audio_decoder.extra.conv.bias"] = torch.zeros(3)
    changed["audio_encoder.pre_conv.conv.bias"] = torch.zeros(5)
    changed["audio_decoder.post_conv.conv.bias"] = torch.full((1,), torch.nan)
    changed["vector_quantizer.fsqs.1.num_levels"] = torch.full((1, 4, 1), 5, dtype=torch.int32)
    del changed[ONE + G]
    with pytest.raises(MismatchError) as error:
        load(write_nemo(tmp_path / "wrong.nemo", CONFIG, changed))
    caught = error.value
    assert set(caught.missing) == {*gone, ONE + "weight"}
    assert set(caught.unexpected) == {"audio_decoder.extra.conv.bias", ONE + V}
    text = str(caught)
    assert "wrong.nemo" in text
    for part in (
        "audio_encoder.pre_conv.conv.bias has shape [5] instead of [4]",
        "audio_decoder.post_conv.conv.bias holds numbers that are not finite",
        "vector_quantizer.fsqs.1.num_levels contradicts",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("section", "key", "value", "says"),
    [
        ("audio_encoder", "activation", "elu", "the encoder's activation"),
        ("audio_encoder", "down_sample_rates", [2, 4, 2], "upsampling that is not the encoder's"),
        ("audio_encoder", "base_channels", 10**9, "base_channels"),
        ("audio_encoder", "base_channels", True, "base_channels"),
        ("audio_encoder", "surprise", 1, "unknown settings: surprise"),
        ("audio_encoder", "_target_", "os.system", "'system'"),
        ("audio_decoder", "pad_mode", "circular", "pad_mode"),
        ("audio_decoder", "input_dim", 7, "a latent that the quantizer does not fill"),
        ("audio_decoder", "up_sample_rates", "many", "up_sample_rates"),
        ("vector_quantizer", "num_groups", 0, "num_groups"),
        ("vector_quantizer", "eps", 0.5, "eps"),
        (None, "sample_rate", -1, "sample_rate"),
        (None, "samples_per_frame", 7, "samples_per_frame"),
        (None, "audio_decoder", None, "no audio_decoder"),
        (None, "semantic_codec", {"a": 1}, "a semantic codec"),
    ],
)
def test_a_configuration_that_is_not_ours_is_refused(
    section: str | None, key: str, value: object, says: str, tmp_path: Path
) -> None:
    data = nemo_config(CONFIG)
    (data[section] if section else data)[key] = value
    path = tmp_path / "model.nemo"
    path.write_bytes(nemo_bytes(data, {}))
    with pytest.raises(CheckpointError, match=r"model\.nemo") as error:
        load(path)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "config", ["[" * 50_000, {"sample_rate": -1}, {"sample_rate": float("nan")}, {"frame_rate": 0}]
)
def test_a_configuration_in_safetensors_that_cannot_be_is_refused(config: object, nemo_file: Path) -> None:
    path = nemo_file.with_name("model.safetensors")
    save(load(nemo_file), path)
    with safe_open(path, "pt") as opened:
        about = opened.metadata()
    good = json.loads(about["config"])
    about["config"] = config if isinstance(config, str) else json.dumps(good | config)
    save_file(load_file(path), path, about)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load(path)


def test_a_wide_configuration_with_few_weights_costs_no_memory(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    data = nemo_config(CONFIG)
    data["audio_encoder"]["base_channels"] = 60_000  # terabytes of weights, if one believed it
    path = tmp_path / "wide.nemo"
    path.write_bytes(nemo_bytes(data, tensors))
    with pytest.raises(MismatchError, match="instead of"):
        load(path)


@pytest.mark.parametrize("name", ["0.8k", "1.1k", "1.1k-25fps", "1.1k-6.25fps"])
def test_variants_without_public_weights_say_what_exists(name: str) -> None:
    with pytest.raises(MissingWeightsError, match=f"'{name}' has no public weights") as error:
        NanoCodec.from_pretrained(name)
    assert "released: 0.6k, 1.78k, 1.89k, lfsc" in str(error.value)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(releases, "find_spec", lambda _: None)
    return tmp_path / "hub"


@pytest.mark.parametrize("name", list(releases.RELEASES))
def test_a_release_that_is_not_here_names_file_revision_and_command(
    name: str, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = releases.RELEASES[name]
    assert main(["convert", name, str(empty_cache.parent / "out")]) == 3
    said = capsys.readouterr().err
    assert release.file in said
    assert f"hf download {release.repository} {release.file} --revision {release.revision}" in said


def test_a_release_is_read_from_the_cache_and_must_be_the_pinned_file(
    empty_cache: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = replace(releases.RELEASES["1.89k"], sha256=None)
    monkeypatch.setitem(releases.RELEASES, "1.89k", release)
    folder = empty_cache / f"models--{release.repository.replace('/', '--')}" / "snapshots" / release.revision
    folder.mkdir(parents=True)
    path = write_nemo(folder / release.file, CONFIG, tensors)
    assert sound(NanoCodec.from_pretrained("1.89k")).shape == (1, 64)
    pinned = releases.ReleasedFile(
        release.repository, release.file, release.revision, release.license, releases.sha256(path)
    )
    monkeypatch.setitem(releases.RELEASES, "1.89k", pinned)
    NanoCodec.from_pretrained("1.89k")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="fetch it again"):
        NanoCodec.from_pretrained("1.89k")


def test_a_download_that_fails_is_explained(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host")

    fake = types.ModuleType("huggingface_hub")
    fake.hf_hub_download = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setattr(releases, "find_spec", lambda _: object())
    with pytest.raises(MissingWeightsError, match=r"no route to host.*hf download"):
        NanoCodec.from_pretrained("0.6k")


def test_half_precision_weights_are_widened(tmp_path: Path, nemo_file: Path) -> None:
    model = load(nemo_file)
    save(model, tmp_path / "half.safetensors", half=True)
    back = load(tmp_path / "half.safetensors")
    assert {tensor.dtype for tensor in back.parameters()} == {torch.float32}
    assert (sound(back) - sound(model)).abs().max() < 0.1


def test_convert_on_the_command_line(nemo_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(nemo_file), str(tmp_path / "out")]) == 0
    assert "model.safetensors" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "out")]) == 0
    assert "2 x 2016" in capsys.readouterr().out
    (tmp_path / "bad.nemo").write_bytes(b"nothing")
    assert main(["convert", str(tmp_path / "bad.nemo"), str(tmp_path / "out2")]) == 3
    assert not (tmp_path / "out2").exists()

"""The command: what it prints and writes, and how it answers mistakes (in words, never with a traceback)."""

import dataclasses
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nanocodec.checkpoint import save
from nanocodec.cli import main
from nanocodec.config import DecoderConfig, EncoderConfig, get_config
from nanocodec.model import NanoCodec

RATE = 22050


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random codec on disk."""
    torch.manual_seed(0)
    config = dataclasses.replace(
        get_config("mini-1.1k"),
        name="tiny",
        encoder=EncoderConfig(2, (3,), (1,)),
        decoder=DecoderConfig(32, (3,), (1,)),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(NanoCodec(config), path)
    return path


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(8000) / 7), 16000)
    return path


def refuses(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """The one line that the command answers on stderr when it exits with `code`."""
    assert main([str(argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("nanocodec: ")
    assert "Traceback" not in error
    return error


def test_encode_then_decode(weights: Path, tone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens, decoded = tmp_path / "tokens.npz", tmp_path / "decoded.wav"
    assert main(["encode", str(tone), str(tokens), "--model", str(weights)]) == 0
    assert "8 x 7 codes for 0.50 s" in capsys.readouterr().out
    assert main(["decode", str(tokens), str(decoded)]) == 0
    audio, rate = soundfile.read(decoded)
    assert (len(audio), rate) == (11025, RATE)
    assert main(["info", str(tokens)]) == 0
    out = capsys.readouterr().out
    assert str(weights) in out
    assert "[8, 7]" in out


def test_info_lists_every_variant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    states = {line.split()[0]: line.split("  ")[-1] for line in out.splitlines()}
    assert (states["1.78k"], states["1.1k"], states["mini-1.1k"]) == ("released", "-", "built in")
    assert "1097.7" in out
    assert main(["info", "lfsc"]) == 0
    assert "non-causal" in capsys.readouterr().out


def test_info_of_weights(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(weights)]) == 0
    assert "1097.7 bit/s" in capsys.readouterr().out


def test_wrong_inputs_are_usage_errors(
    weights: Path, tone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tmp_path / "tokens.npz"
    model = ("--model", weights)
    text = tmp_path / "text.wav"
    text.write_text("not audio")
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0), 16000)
    broken = tmp_path / "nan.wav"
    soundfile.write(broken, np.array([0.0, np.nan, 0.1]), 16000, subtype="FLOAT")
    assert "none.wav: no such file" in refuses(capsys, 2, "encode", tmp_path / "none.wav", tokens, *model)
    assert "not readable as audio" in refuses(capsys, 2, "encode", text, tokens, *model)
    assert "holds no samples" in refuses(capsys, 2, "encode", empty, tokens, *model)
    assert "not finite" in refuses(capsys, 2, "encode", broken, tokens, *model)
    assert "cannot be written" in refuses(capsys, 2, "encode", tone, tmp_path / "no" / "t.npz", *model)
    assert "not a token file" in refuses(capsys, 2, "decode", text, tmp_path / "out.wav")
    assert "--device tpu" in refuses(capsys, 2, "encode", tone, tokens, *model, "--device", "tpu")
    assert "known: 0.6k" in refuses(capsys, 2, "info", "9k")
    assert not tokens.exists()


def test_tokens_of_another_model_are_refused(
    weights: Path, tone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.safetensors"
    save(NanoCodec(dataclasses.replace(NanoCodec.from_pretrained(weights).config, num_codebooks=4, name="4")), other)
    tokens = tmp_path / "tokens.npz"
    assert main(["encode", str(tone), str(tokens), "--model", str(weights)]) == 0
    capsys.readouterr()
    assert "made with tiny" in refuses(capsys, 2, "decode", tokens, tmp_path / "o.wav", "--model", other)
    assert "cannot be written" in refuses(capsys, 2, "decode", tokens, tmp_path / "o.what")


def test_missing_weights_and_data_are_environment_errors(
    tone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = refuses(capsys, 3, "encode", tone, tmp_path / "t.npz", "--model", tmp_path / "none.safetensors")
    assert "none.safetensors" in missing
    error = refuses(capsys, 3, "train", "mini-1.1k", "--data", tmp_path / "nowhere", "--run", tmp_path / "run")
    assert "nowhere: no such folder" in error


def test_training_mistakes_are_usage_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refuses(capsys, 2, "train", tmp_path / "none.yaml", "--data", tmp_path, "--run", tmp_path / "run")
    assert "none.yaml: no such file" in error
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.pt").write_bytes(b"")
    assert "--resume" in refuses(capsys, 2, "train", "mini-1.1k", "--data", tmp_path, "--run", run)


def test_unknown_arguments_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["dance"], ["encode", "only-one"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: nanocodec" in capsys.readouterr().err


def test_training_without_its_extra_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    error = refuses(capsys, 3, "train", "mini-1.1k", "--data", tmp_path, "--run", tmp_path / "run")
    assert error.endswith("pip install 'nanocodec-evalkit[train]'\n")


@pytest.mark.parametrize("command", ["info", "encode", "decode", "train"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"nanocodec {command} " in capsys.readouterr().out.split("example", 1)[1]


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"nanocodec {version('nanocodec-evalkit')}\n"


def test_training_says_what_it_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time = np.arange(RATE) / RATE
    (tmp_path / "data").mkdir()
    for index in range(40):
        soundfile.write(tmp_path / "data" / f"{index}.wav", 0.1 * np.sin(2 * np.pi * (100 + index) * time), RATE)
    config, run = tmp_path / "tiny.yaml", tmp_path / "run"
    config.write_text(
        """
        extends: mini-1.1k
        model: {name: tiny, levels: [8, 7, 6, 6], num_codebooks: 2, strides: [2, 2, 4], encoder: {base_channels: 2},
                decoder: {base_channels: 24}}
        phases: [{until: 9, batch: 1, frames: 50}]
        auxiliary_heads: null
        discriminators: null
        losses: {spectral: 1.0}
        n_ffts: [128]
        n_mels: [0]
        data: {loaders: 0}
        scorer: null
        log_every: 1
        """
    )
    arguments = ["train", str(config), "--data", str(tmp_path / "data"), "--run", str(run)]
    assert main([*arguments, "--steps", "2"]) == 0
    out = capsys.readouterr().out
    for part in (
        "device     cpu, 1 process",
        "40 found, 40 taken",
        "0 done of 2",
        "tensorboard --logdir",
        "step 2 of 2",
    ):
        assert part in out
    assert main([*arguments, "--steps", "3", "--resume"]) == 0
    out = capsys.readouterr().out
    assert "Resumed at step 2" in out
    assert "2 done of 3" in out
    assert "step 3 of 3" in out

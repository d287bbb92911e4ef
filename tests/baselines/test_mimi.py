"""Mimi by the real loading code, from random weights in the public format, beside calling transformers directly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import mimi
from evalkit.baselines.testing import mimi as narrow
from evalkit.errors import MissingError

transformers = pytest.importorskip("transformers", reason="Mimi needs transformers")


@pytest.fixture(scope="module")
def model():
    return narrow.model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("mimi")
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def codec(folder):
    return mimi.FAMILY.build_from(folder, "1.1k")


def test_mimi_keeps_the_protocol(codec) -> None:
    testing.check_codec(codec, mimi.FAMILY.rates["1.1k"], tolerance=0.01)
    assert codec.codebook_sizes == (2048,) * 8 and (codec.sample_rate, codec.frame_rate) == (24_000, 12.5)


@pytest.mark.parametrize("count", [1, 8, 32])
def test_codes_and_audio_are_those_of_transformers(model, folder, count: int) -> None:
    codec = mimi.FAMILY.build_from(folder, f"{count * 0.1375:g}k")
    voice = testing.speech(2.0, 24_000)
    codes = codec.encode(voice)
    with torch.inference_mode():
        expected = model.encode(torch.from_numpy(voice)[None, None], num_quantizers=count).audio_codes
        audio = model.decode(expected).audio_values[0, 0]
    assert np.array_equal(codes.indices, expected[0].numpy()) and codes.indices.shape == (count, 25)
    assert len(np.unique(codes.indices)) > 5
    assert np.array_equal(codec.decode(codes), audio[: len(voice)].numpy())


def test_the_last_frames_of_a_batch_are_not_those_of_single_runs_and_it_says_so(codec) -> None:
    voice = testing.speech(2.0, 24_000)
    wavs = [voice, voice[: 24_000 - 700]]
    longest, shorter = codec.encode_batch(wavs)
    alone = codec.encode(wavs[1])
    assert not codec.batch_equal and np.array_equal(longest.indices, codec.encode(voice).indices)
    assert np.array_equal(shorter.indices[:, :-1], alone.indices[:, :-1])
    assert not np.array_equal(shorter.indices[:, -1], alone.indices[:, -1])
    for one, audio in zip((longest, alone), codec.decode_batch([longest, alone]), strict=True):
        assert audio.shape == (one.length,) and np.allclose(audio, codec.decode(one), atol=1e-4)


def test_decoding_needs_no_future_frames(codec) -> None:
    codes = codec.encode(testing.speech(2.0, 24_000))
    start = type(codes)(10 * mimi.HOP, codes.indices[:, :10], codes.codebook_sizes)
    assert np.allclose(codec.decode(start), codec.decode(codes)[: 10 * mimi.HOP], atol=1e-5)


def test_rates_are_those_of_1_to_32_codebooks() -> None:
    rates = mimi.FAMILY.rates
    assert len(rates) == 32 and rates["1.1k"] == 1100 and rates["0.1375k"] == 137.5 and rates["4.4k"] == 4400
    assert [mimi.codebooks(rate) for rate in rates.values()] == list(range(1, 33))


def test_the_card_counts_the_released_model() -> None:
    with torch.device("meta"):
        full = transformers.MimiModel(transformers.MimiConfig())
    tensors = full.state_dict().values()  # as many, and as many numbers, as the released file is reported to hold
    assert (len(tensors), sum(tensor.numel() for tensor in tensors)) == (350, 96_151_393)
    tables = {name: b for name, b in full.named_buffers() if name.endswith("embed_sum")}
    assert sum(p.numel() for p in full.parameters()) == mimi.PARAMETERS
    assert len(tables) == 32 and {tuple(b.shape) for b in tables.values()} == {(mimi.CODEBOOK, mimi.DIMENSION)}


def test_details_name_the_weights(codec, folder) -> None:
    from hashlib import sha256

    expected = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert codec.details["weights_sha256"]["model.safetensors"] == expected


def test_weights_that_do_not_fit_are_refused(model, folder, tmp_path) -> None:
    with pytest.raises(MissingError, match=r"mimi@1\.1k: .*config\.json is not there"):
        mimi.FAMILY.build_from(tmp_path, "1.1k")

    config = json.loads((folder / "config.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps(config | {"model_type": "encodec"}))
    (other / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(MissingError, match="a model of type 'encodec', not 'mimi'"):
        mimi.FAMILY.build_from(other, "1.1k")

    (other / "config.json").write_text(json.dumps(config | {"num_quantizers": 4, "num_semantic_quantizers": 1}))
    with pytest.raises(MissingError, match=r"not those of a MimiModel|4 codebooks"):
        mimi.FAMILY.build_from(other, "1.1k")

    (other / "config.json").write_text(json.dumps(config))
    (other / "model.safetensors").write_bytes(b"\x08" + bytes(100))
    with pytest.raises(MissingError, match="cannot be opened"):
        mimi.FAMILY.build_from(other, "1.1k")

    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    gone = "decoder.layers.0.conv.bias"
    save_file({k: v for k, v in tensors.items() if k != gone}, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(MissingError, match=r"missing.*layers.0.conv.bias"):
        mimi.FAMILY.build_from(other, "1.1k")


def test_a_run_with_weights_of_ones_own(model, folder, tmp_path) -> None:
    """Other weights are other codecs: to the provenance, to the cache, and by name."""
    from evalkit.cli import main
    from evalkit.results.run import read_run

    other = tmp_path / "other"
    with torch.no_grad():
        bias = next(parameter for name, parameter in model.named_parameters() if name.endswith("bias"))
        bias += 1
        model.save_pretrained(other)
        bias -= 1
    runs = []
    for weights in (folder, other, folder):
        command = [
            "run",
            "--codec",
            "mimi@1.1k",
            "--weights",
            str(weights),
            "--limit",
            "2",
            "--metrics",
            "si-sdr,bitrate",
        ]
        assert main([*command, "--output", str(tmp_path / f"run-{len(runs)}")]) == 0
        runs.append(read_run(tmp_path / f"run-{len(runs)}"))
    first, second, again = (run.rows[run.rows["metric"] == "si-sdr"]["value"].tolist() for run in runs)
    assert first == again != second
    names = [f"mimi@1.1k ({weights.name})" for weights in (folder, other, folder)]
    described = [run.provenance["codecs"][name] for run, name in zip(runs, names, strict=True)]
    digests = [one["details"]["weights_sha256"]["model.safetensors"] for one in described]
    assert digests[0] == digests[2] != digests[1]
    (measured,) = runs[0].rows[runs[0].rows["metric"] == "bitrate"]["value"]
    assert measured == pytest.approx(1100, rel=0.03)

"""EnCodec, DAC and SNAC by the real loading code, from random weights in the public format, beside calling their
packages directly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import dac, encodec, snac
from evalkit.baselines.testing import dac as narrow_dac
from evalkit.baselines.testing import encodec as narrow_encodec
from evalkit.baselines.testing import snac as narrow_snac
from evalkit.baselines.testing import write
from evalkit.codecs import Codes
from evalkit.errors import MissingError
from evalkit.pipeline.choice import choose

transformers = pytest.importorskip("transformers", reason="EnCodec and DAC need transformers")
package = pytest.importorskip("snac", reason="SNAC needs snac")


@pytest.fixture(scope="module")
def encodec_model():
    return narrow_encodec.model()


@pytest.fixture(scope="module")
def dac_model():
    return narrow_dac.model("16khz")


@pytest.fixture(scope="module")
def snac_model():
    return narrow_snac.model()


@pytest.fixture(scope="module")
def folders(encodec_model, dac_model, snac_model, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packages")
    rates = {"encodec": "1.5k", "dac": "6k-16khz", "snac": "0.98k"}
    return {name: write(name, rate, root / name) for name, rate in rates.items()}


def build(spec: str, folders: dict[str, Path]):
    choice = choose(spec)
    return choice.family.build_from(folders[choice.family.name], choice.rate, "cpu")


@pytest.mark.parametrize("spec", ["encodec@1.5k", "dac@1k-16khz", "snac@0.98k"])
def test_they_keep_the_protocol(spec: str, folders) -> None:
    codec = build(spec, folders)
    testing.check_codec(codec, choose(spec).bitrate, tolerance=0.01)
    card = choose(spec).family.info(choose(spec).rate)
    built = (codec.sample_rate, codec.frame_rate, codec.codebook_sizes, codec.streaming)
    assert built == (card.sample_rate, card.frame_rate, card.codebook_sizes, card.causal)
    assert all(len(digest) == 64 for digest in codec.details["weights_sha256"].values())


@pytest.mark.parametrize("rate", ["1.5k", "24k"])
def test_encodec_is_transformers_own(rate: str, encodec_model, folders) -> None:
    voice = testing.speech(1.01, 24_000)
    codec = build(f"encodec@{rate}", folders)
    codes = codec.encode(voice)
    with torch.inference_mode():
        direct = encodec_model.encode(torch.from_numpy(voice)[None, None], bandwidth=float(rate[:-1]))
        audio = encodec_model.decode(direct.audio_codes, direct.audio_scales).audio_values[0, 0, : len(voice)]
    assert np.array_equal(codes.indices, direct.audio_codes[0, 0].numpy()) and codes.indices.shape[1] == 76
    assert len(np.unique(codes.indices)) > 10 and np.array_equal(codec.decode(codes), audio.numpy())
    start = Codes(30 * encodec.HOP, codes.indices[:, :30], codes.codebook_sizes)
    assert np.allclose(codec.decode(start), audio[: 30 * encodec.HOP].numpy(), atol=1e-5)  # needs no future frames


def test_dac_is_transformers_own(dac_model, folders) -> None:
    voice = testing.speech(1.01, 16_000)
    codec = build("dac@1.5k-16khz", folders)
    codes = codec.encode(voice)
    padded = torch.nn.functional.pad(torch.from_numpy(voice), (0, -len(voice) % 320))
    with torch.inference_mode():
        direct = dac_model.encode(padded[None, None], n_quantizers=3).audio_codes
        audio = dac_model.decode(audio_codes=direct).audio_values[0]
    assert np.array_equal(codes.indices, direct[0].numpy()) and codes.indices.shape == (3, 51)
    assert len(np.unique(codes.indices)) > 10
    assert np.array_equal(codec.decode(codes), audio[: len(voice)].numpy())
    whole = codec.decode(codec.encode(voice[:16_000]))
    assert len(whole) == 16_000 and (whole[-8:] == 0).all() and (whole[-16:-8] != 0).all()


def test_snac_is_its_own_packages(snac_model, folders) -> None:
    voice = testing.speech(1.01, 24_000)
    codec = build("snac", folders)
    codes = codec.encode(voice)
    with torch.inference_mode():
        levels = snac_model.encode(torch.from_numpy(voice)[None, None])
        torch.manual_seed(snac.NOISE_SEED)
        audio = snac_model.decode(levels)[0, 0, : len(voice)]
    first, second, third = (level[0].numpy() for level in levels)
    assert np.array_equal(codes.indices[0], first) and np.array_equal(codes.indices[1:3].T.reshape(-1), second)
    assert np.array_equal(codes.indices[3:].T.reshape(-1), third)
    assert len(np.unique(codes.indices)) > 10 and np.array_equal(codec.decode(codes), audio.numpy())


def test_decoding_leaves_the_random_state_as_it_was(folders) -> None:
    codec = build("snac", folders)
    codes = codec.encode(testing.speech(0.1, 24_000))
    before = torch.random.get_rng_state()
    codec.decode(codes)
    assert torch.equal(before, torch.random.get_rng_state())


def test_cards_count_the_published_models() -> None:
    with torch.device("meta"):
        model = transformers.EncodecModel(transformers.EncodecConfig())
        assert sum(p.numel() for p in model.parameters()) == encodec.PARAMETERS
        assert {tuple(b.shape) for n, b in model.named_buffers() if n.endswith("embed")} == {(1024, encodec.DIMENSION)}
        released = 23_273_218  # numbers in the released file, as reported
        assert sum(tensor.numel() for tensor in model.state_dict().values()) == released
        for name, about in dac.MODELS.items():
            model = transformers.DacModel(narrow_dac.config(name))
            assert sum(p.numel() for p in model.parameters()) == about.parameters
            quantizer = model.quantizer.quantizers[0]
            assert sum(p.numel() for p in quantizer.parameters()) == dac.PER_CODEBOOK
        published = package.SNAC(**narrow_snac.NARROW | {"encoder_dim": 48, "decoder_dim": 1024})
        assert sum(p.numel() for p in published.parameters()) == snac.PARAMETERS


def test_rates() -> None:
    assert list(encodec.FAMILY.rates) == ["1.5k", "3k", "6k", "12k", "24k"]
    assert choose("dac@6k").spec == "dac@6k-16khz" and dac.FAMILY.rates["7.752k-44khz"] == pytest.approx(7751.95)
    assert len(dac.FAMILY.rates) == 12 + 32 + 9 and set(dac.LISTED) <= set(dac.FAMILY.rates)
    assert snac.FAMILY.rates["0.98k"] == pytest.approx(984.375)


def test_other_models_are_refused(folders, tmp_path) -> None:
    with pytest.raises(MissingError, match=r"16000 Hz, hop 320 and 12 codebooks"):
        dac.FAMILY.build_from(folders["dac"], "24k-24khz")
    with pytest.raises(MissingError, match="a model of type 'dac', not 'encodec'"):
        encodec.FAMILY.build_from(folders["dac"], "1.5k")
    for name, content in (
        ("config.json", json.dumps(narrow_snac.NARROW | {"vq_strides": [8, 4, 2]})),
        ("pytorch_model.bin", "x"),
    ):
        (tmp_path / name).write_text(content)
    with pytest.raises(MissingError, match="cannot be opened"):
        snac.FAMILY.build_from(tmp_path, "0.98k")
    other = narrow_snac.NARROW | {"sampling_rate": 32_000}
    (tmp_path / "config.json").write_text(json.dumps(other))
    torch.save(package.SNAC(**other).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(MissingError, match="is not SNAC's 24 kHz model"):
        snac.FAMILY.build_from(tmp_path, "0.98k")

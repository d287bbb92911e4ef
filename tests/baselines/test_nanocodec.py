"""The adapter of NanoCodec, on a model with random weights, so that it needs no checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import nanocodec
from evalkit.errors import MissingError
from evalkit.pipeline.choice import choose
from nanocodec.config import DecoderConfig, EncoderConfig, get_config
from nanocodec.model import NanoCodec
from nanocodec.testing import narrow, seeded_tensors, write_nemo


@pytest.fixture(scope="module")
def codec() -> nanocodec.NanoCodecCodec:
    torch.manual_seed(0)
    narrow = replace(
        get_config("1.1k"),
        encoder=EncoderConfig(base_channels=2, kernel_sizes=(3,), dilations=(1,)),
        decoder=DecoderConfig(base_channels=32, kernel_sizes=(3,), dilations=(1,)),
    )
    model = NanoCodec(narrow)
    with torch.no_grad():  # random weights alone leave every latent near zero, and every code the same
        for parameter in model.audio_encoder.parameters():
            parameter *= 3
    return nanocodec.NanoCodecCodec("nanocodec-test", model, nanocodec.FAMILY.info("1.1k"), {})


def test_the_adapter_keeps_the_protocol(codec) -> None:
    testing.check_codec(codec, nanocodec.FAMILY.rates["1.1k"], tolerance=0.01)
    assert (codec.sample_rate, codec.frame_rate, codec.streaming) == (22_050, 12.5, True)
    assert codec.codebook_sizes == (2016,) * 8


def test_codes_are_those_of_the_model(codec) -> None:
    voice = testing.speech(2.0, 22_050)
    codes = codec.encode(voice)
    assert codes.indices.shape == (8, 25) and len(np.unique(codes.indices)) > 10
    assert codes.bits / 2.0 == pytest.approx(nanocodec.FAMILY.rates["1.1k"])


def test_batches_are_equal_to_single_runs(codec) -> None:
    voice = testing.speech(3.0, 22_050)
    wavs = [voice, voice[:1], voice[22_050 : 22_050 + 5 * 1764], voice[7000:30_001]]
    coded = codec.encode_batch(wavs)
    for wav, codes, audio in zip(wavs, coded, codec.decode_batch(coded), strict=True):
        alone = codec.encode(wav)
        assert codes.length == len(wav) == len(audio) and np.array_equal(codes.indices, alone.indices)
        assert np.abs(audio - codec.decode(alone)).max() < 1e-5


def test_a_folder_that_convert_wrote_is_taken(tmp_path) -> None:
    from nanocodec.checkpoint import convert

    file = convert("mini-1.1k", tmp_path / "converted")
    codec = nanocodec.FAMILY.build_from(file.parent, "1.1k")
    assert set(codec.details["weights_sha256"]) == {file.name}


def test_the_built_in_codec_is_never_named_as_the_papers() -> None:
    if not nanocodec.FAMILY.availability("1.1k").ready:
        pytest.skip("no weights in the package")
    built_in = nanocodec.FAMILY.build("1.1k")
    assert built_in.name == "nanocodec-mini@1.1k (built in)"
    assert built_in.trained_on_metrics == (), "no metric was in its loss: decision 0063"


def test_weights_that_did_not_come_with_the_package(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(nanocodec.resources, "files", lambda package: tmp_path)
    assert nanocodec.FAMILY.availability("1.1k").code == "needs download"
    with pytest.raises(MissingError, match=r"nanocodec@1\.1k: reinstall the package"):
        nanocodec.FAMILY.build("1.1k")


SLOW = [pytest.param(f"nanocodec@{rate}", marks=pytest.mark.slow) for rate in ("0.6k", "1.78k")]
"""Differ from others in the number of codebooks only."""


@pytest.mark.parametrize("spec", ["nanocodec@0.8k", "nanocodec@1.89k", "lfsc@1.89k", *SLOW])
def test_released_formats_keep_the_protocol(spec: str, tmp_path) -> None:
    choice = choose(spec)
    config = narrow(get_config(choice.family.variants[choice.rate]))
    path = write_nemo(tmp_path / "theirs.nemo", config, seeded_tensors(config))
    codec = replace(choice, weights=path).build()
    testing.check_codec(codec, choice.bitrate, tolerance=0.015)
    assert codec.name == f"{spec} (theirs.nemo)" and list(codec.details["weights_sha256"]) == ["theirs.nemo"]
    card = choice.family.info(choice.rate)
    built = (codec.sample_rate, codec.frame_rate, codec.codebook_sizes, codec.streaming)
    assert built == (card.sample_rate, card.frame_rate, card.codebook_sizes, card.causal)
    with pytest.raises(MissingError, match=r"has .*, nanocodec@1\.1k-25fps 4 codebooks of 2016 at 25 frames/s"):
        nanocodec.FAMILY.build_from(path, "1.1k-25fps")
    with pytest.raises(MissingError, match="no such file"):
        nanocodec.FAMILY.build_from(tmp_path / "gone.nemo", "1.78k")


def test_the_same_bitrate_at_another_frame_rate_is_refused(tmp_path) -> None:
    config = narrow(get_config("1.1k-25fps"))
    path = write_nemo(tmp_path / "theirs.nemo", config, seeded_tensors(config))
    nanocodec.FAMILY.build_from(path, "1.1k-25fps")
    with pytest.raises(MissingError, match=r"4 codebooks of 2016 at 25 frames/s, nanocodec@1\.1k 8 codebooks of 2016"):
        nanocodec.FAMILY.build_from(path, "1.1k")


def test_cards_count_the_released_models() -> None:
    for variant, count in nanocodec.PARAMETERS.items():
        with torch.device("meta"):
            model = NanoCodec(get_config(variant)).fold()
        assert sum(p.numel() for p in model.parameters()) == count, variant

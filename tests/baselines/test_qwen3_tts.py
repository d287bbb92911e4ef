"""Qwen3-TTS-Tokenizer-12Hz by the real loading code, from seeded weights in the released format."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit import testing
from evalkit.baselines import qwen3_tts
from evalkit.baselines.testing import qwen3_tts as narrow
from evalkit.baselines.testing import write
from evalkit.errors import MissingError
from evalkit.pipeline.choice import choose

transformers = pytest.importorskip("transformers", reason="its encoder needs transformers")
build = qwen3_tts.FAMILY.build_from
UNUSED = tuple(f"encoder.quantizer.{kind}_residual_vector_quantizer.output_proj" for kind in ("semantic", "acoustic"))
"""Of the encoder's quantizer, what only Mimi's own decoder needs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write("qwen3-tts-12hz", "2.2k", tmp_path_factory.mktemp("qwen3"))


@pytest.mark.parametrize("rate", list(qwen3_tts.FAMILY.rates))
def test_it_keeps_the_protocol(folder: Path, rate: str) -> None:
    family = qwen3_tts.FAMILY
    testing.check_codec(build(folder, rate), family.rates[rate], tolerance=0.01, info=family.info(rate))


def test_tokens_and_audio_are_those_of_upstream(folder: Path, check_every_weight_counts) -> None:
    """Made by upstream's own code with transformers 4.57.3: tests/oracle/qwen3_tts.py --golden."""
    check_every_weight_counts(build(folder, "2.2k"), "qwen3_tts.npz", "qwen3", count=8, unused=UNUSED)


def test_decoding_in_chunks_differs_where_the_context_ends(folder: Path) -> None:
    whole, chunked = build(folder, "2.2k"), build(folder, "2.2k-chunked")
    codes = whole.encode(testing.speech(26.0, 24_000))
    assert codes.indices.shape == (16, 325)
    every, parts = whole.decode(codes), chunked.decode(codes)
    border = qwen3_tts.CHUNK * qwen3_tts.HOP
    assert np.allclose(every[:border], parts[:border], atol=1e-5)
    assert np.abs(every - parts)[border:].max() > 1e-5 and len(every) == len(parts)
    assert (whole.details["decoding"], chunked.details["decoding"]) == (
        "all frames at once",
        "300 frames at a time, 25 of context",
    )


def test_decoding_needs_no_future_frames(folder: Path) -> None:
    codec = build(folder, "2.2k")
    codes = codec.encode(testing.speech(2.0, 24_000))
    start = type(codes)(10 * qwen3_tts.HOP, codes.indices[:, :10], codes.codebook_sizes)
    assert np.allclose(codec.decode(start), codec.decode(codes)[: 10 * qwen3_tts.HOP], atol=1e-5)


@pytest.mark.parametrize(("length", "frames"), [(1, 1), (1920, 1), (1921, 2)])
def test_frames(folder: Path, length: int, frames: int) -> None:
    assert build(folder, "2.2k").encode(testing.speech(0.1, 24_000)[:length]).indices.shape == (16, frames)


def test_the_card_counts_the_published_model() -> None:
    from evalkit.baselines.qwen3_tts_model import Decoder, Shape

    with torch.device("meta"):
        decoder = Decoder(Shape.of(qwen3_tts.PUBLISHED))
        encoder = transformers.MimiModel(transformers.MimiConfig())
    used = [p for n, p in encoder.named_parameters() if not n.startswith("decoder") and "output_proj" not in n]
    books = 2 * decoder.books.numel()  # as many on the encoder's side
    assert sum(p.numel() for p in [*decoder.parameters(), *used]) + books == qwen3_tts.PARAMETERS


def test_rates() -> None:
    assert set(qwen3_tts.FAMILY.rates.values()) == {2200.0}
    assert choose("qwen3-tts-12hz@2200").spec == "qwen3-tts-12hz@2.2k"


def test_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    config, tensors = narrow.config(), load_file(folder / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    decoder = config["decoder_config"]
    for wrong, message in (
        ({}, "KeyError"),
        (config | {"model_type": "mimi"}, "describes no such tokenizer"),
        (config | {"output_sample_rate": 48_000}, "48000"),
        (config | {"decoder_config": decoder | {"attention_bias": True}}, "not implemented: {'attention_bias': True}"),
        (config | {"decoder_config": decoder | {"num_quantizers": 8}}, "describes no such tokenizer"),
        (config | {"decoder_config": decoder | {"latent_dim": 32}}, "are not those of"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(wrong))
        with pytest.raises(MissingError, match=r"qwen3-tts-12hz@2\.2k: ") as caught:
            build(tmp_path, "2.2k")
        assert message in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps(config))
    for gone in ("decoder.pre_conv.conv.bias", "encoder.downsample.conv.weight"):
        save_file({name: tensor for name, tensor in tensors.items() if name != gone}, tmp_path / "model.safetensors")
        with pytest.raises(MissingError, match="are not those of"):
            build(tmp_path, "2.2k")

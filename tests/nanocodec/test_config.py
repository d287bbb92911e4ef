"""The variants' data: derived numbers and parameter counts against upstream's, counted with the real classes."""

import json

import pytest
import torch

from nanocodec.config import VARIANTS, CodecConfig, DecoderConfig, UnknownVariantError, get_config, stage_dilations
from nanocodec.decoder import Decoder
from nanocodec.encoder import Encoder
from nanocodec.layers import fold_weight_norm
from nanocodec.model import NanoCodec

# Trainable tensors of NeMo's own classes: encoder, decoder, and the sum without weight norm's magnitudes.
COUNTS = {
    "0.6k": (30_278_840, 31_483_410, 61_729_725),
    "1.1k": (30_364_888, 31_580_178, 61_912_525),
    "1.78k": (30_472_448, 31_701_138, 62_141_025),
    "1.89k": (31_019_224, 31_581_690, 62_568_373),
    "1.1k-25fps": (30_168_248, 31_482_114, 61_617_837),
    "lfsc": (57_641_200, 55_056_258, 112_664_609),
}


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_equal_upstream(name: str) -> None:
    encoder_count, decoder_count, folded = COUNTS[name]
    with torch.device("meta"):
        encoder, decoder = Encoder(get_config(name)), Decoder(get_config(name))
    assert (count(encoder), count(decoder)) == (encoder_count, decoder_count)
    fold_weight_norm(encoder)
    fold_weight_norm(decoder)
    assert count(encoder) + count(decoder) == folded


@pytest.mark.parametrize(
    ("name", "bitrate", "hop", "size", "latent"),
    [
        ("0.6k", 598.864, 1764, 4032, 16),
        ("0.8k", 800.0, 1764, 65536, 16),
        ("1.1k", 1097.728, 1764, 2016, 32),
        ("1.78k", 1783.808, 1764, 2016, 52),
        ("1.1k-25fps", 1097.728, 882, 2016, 16),
        ("1.1k-6.25fps", 1097.728, 3528, 2016, 64),
        ("1.89k", 1891.008, 1024, 2016, 32),
        ("lfsc", 1891.008, 1024, 2016, 32),
        ("mini-1.1k", 1097.728, 1764, 2016, 32),
    ],
)
def test_numbers_follow_from_the_data(name: str, bitrate: float, hop: int, size: int, latent: int) -> None:
    config = get_config(name)
    assert config.bitrate == pytest.approx(bitrate, abs=1e-3)
    assert (config.hop, config.codebook_size, config.latent_dim) == (hop, size, latent)
    assert config.frame_rate == pytest.approx(22050 / hop)


def test_the_mini_model_is_small_enough_to_ship() -> None:
    with torch.device("meta"):
        model = NanoCodec.from_variant("mini-1.1k").fold()
    assert count(model) * 2 <= 16e6


def test_names_of_tensors_are_upstream_s() -> None:
    with torch.device("meta"):
        names = NanoCodec.from_variant("0.6k").state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in names.items()}
    v = "conv.parametrizations.weight.original1"
    assert shapes[f"audio_encoder.pre_conv.{v}"] == (24, 1, 7)
    assert shapes[f"audio_encoder.down_sample_conv_layers.4.{v}"] == (768, 384, 14)
    assert shapes[f"audio_encoder.post_conv.{v}"] == (16, 768, 7)
    assert shapes[f"audio_decoder.pre_conv.{v}"] == (864, 16, 7)
    assert shapes[f"audio_decoder.up_sample_conv_layers.0.{v}"] == (864, 1, 14)
    assert shapes["audio_decoder.up_sample_conv_layers.0.conv.parametrizations.weight.original0"] == (864, 1, 1)
    assert shapes["audio_decoder.post_activation.activation.snake_act.alpha"] == (1, 13, 1)
    assert "audio_decoder.res_layers.4.res_blocks.2.res_blocks.1.skip_activation.activation.snake_act.alpha" in shapes
    assert shapes["vector_quantizer.fsqs.3.dim_base_index"] == (1, 4, 1)
    assert sum(name.startswith("audio_decoder.") for name in names) == 387
    assert sum(name.startswith("audio_encoder.") for name in names) == 291


@pytest.mark.parametrize("name", VARIANTS)
def test_a_config_survives_json(name: str) -> None:
    config = get_config(name)
    assert CodecConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_variant_lists_the_known() -> None:
    with pytest.raises(UnknownVariantError, match=r"unknown NanoCodec variant '2k'; known: 0\.6k, .*mini-1\.1k"):
        get_config("2k")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": [1, 2]}, "at least 2"),
        ({"strides": []}, "positive strides"),
        ({"num_codebooks": 0}, "at least one codebook"),
        ({"colour": "red"}, "colour"),
        ({"decoder": {"base_channels": 100}}, "divisible by 32"),
        ({"decoder": {"base_channels": 8}}, "halved"),
    ],
)
def test_a_config_that_describes_no_codec_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodecConfig.from_dict({**get_config("1.1k").to_dict(), **change})


def test_dilations_are_given_once_or_per_stage() -> None:
    assert stage_dilations((1, 3), 2) == ((1, 3), (1, 3))
    assert stage_dilations(((1,), (1, 3)), 2) == ((1,), (1, 3))
    with pytest.raises(ValueError, match="2 stages, but there are 5"):
        stage_dilations(((1,), (1, 3)), 5)
    with pytest.raises(ValueError, match="causal decoders upsample in groups"):
        Decoder(CodecConfig("odd", (4, 4), 1, (2, 2), decoder=DecoderConfig(8, causal=False)))

"""Weights that training starts from, and the heads on inner stages."""

import dataclasses

import pytest
import torch

from nanocodec.config import CodecConfig, DecoderConfig, EncoderConfig, get_config
from nanocodec.model import NanoCodec
from nanocodec.training.config import AuxiliaryWeights, ConfigError, Phase, TrainConfig
from nanocodec.training.training_model import TrainingModel, copy_weights

TINY = dataclasses.replace(
    get_config("mini-1.1k"), encoder=EncoderConfig(2, (3,), (1,)), decoder=DecoderConfig(32, (3,), (1,))
)


def wider(config: CodecConfig, encoder: int, decoder: int) -> CodecConfig:
    return dataclasses.replace(
        config,
        name="wider",
        encoder=dataclasses.replace(config.encoder, base_channels=encoder),
        decoder=dataclasses.replace(config.decoder, base_channels=decoder),
    )


def perturbed(config: CodecConfig) -> NanoCodec:
    """Random weights, no two alike: biases and half-snakes too, which else start at 0 and 1."""
    codec = NanoCodec(config).fold().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in codec.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return codec


@pytest.mark.parametrize("name", ["mini-1.1k", "lfsc"])
def test_a_wider_codec_starts_as_the_narrow_one_was(name: str) -> None:
    narrow = wider(get_config(name), 2, 64)
    start = perturbed(narrow)
    grown = perturbed(wider(narrow, 4, 192))
    copy_weights(start, grown)
    audio = 0.1 * torch.randn(2, 3 * narrow.hop, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        latent, _ = start.encode_latent(audio)
        torch.testing.assert_close(grown.encode_latent(audio)[0], latent, atol=1e-5, rtol=1e-4)
        assert latent.std() > 0.1
        codes, _ = start.encode(audio)
        torch.testing.assert_close(grown.decode(codes), start.decode(codes), atol=1e-5, rtol=1e-4)
    assert all(p.ne(0).any() for p in grown.parameters())


def test_a_start_of_another_architecture_is_refused() -> None:
    for start in (wider(TINY, 4, 32), dataclasses.replace(TINY, num_codebooks=4)):
        with pytest.raises(ConfigError, match=r"cannot start .*only the widths .*may differ"):
            copy_weights(NanoCodec(start).fold(), NanoCodec(TINY))
    with pytest.raises(ConfigError, match="odd number of channels"):
        copy_weights(NanoCodec(TINY).fold(), NanoCodec(wider(TINY, 2, 64)))


def test_a_weight_normed_codec_takes_over_folded_weights() -> None:
    start, other = perturbed(TINY), NanoCodec(TINY)
    copy_weights(start, other)
    audio = 0.1 * torch.randn(1, 4 * TINY.hop, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(other.fold()(audio), start(audio), atol=1e-6, rtol=1e-5)


def test_training_computes_the_layers_of_encoder_and_decoder() -> None:
    config = TrainConfig(TINY, (Phase(1, 1, 1),), auxiliary_heads=AuxiliaryWeights())
    model = TrainingModel(config)
    audio = 0.1 * torch.randn(2, 3 * TINY.hop, generator=torch.Generator().manual_seed(0))
    latent, features = model.encode(audio)
    assert torch.equal(latent, model.codec.audio_encoder(audio[:, None]))
    assert features.shape == (2, TINY.encoder.base_channels * 2**4, 3 * TINY.strides[-1])
    decoded, stages = model.decode(latent, waveform=True)
    assert decoded is not None
    assert torch.equal(decoded.clamp(-1, 1), model.codec.audio_decoder(latent)[:, 0])
    assert [stage.shape[1] for stage in stages] == [16, 8, 4]


def test_a_phase_without_waveform_computes_three_stages() -> None:
    model = TrainingModel(TrainConfig(TINY, (Phase(1, 1, 1),)))
    computed: list[int] = []
    for i, layer in enumerate(model.codec.audio_decoder.res_layers):
        layer.register_forward_hook(lambda *_, i=i: computed.append(i))
    decoded, stages = model.decode(torch.zeros(1, TINY.latent_dim, 2), waveform=False)
    assert decoded is None
    assert computed == [0, 1, 2]
    assert len(stages) == 3

"""The fast form of encoder and decoder gives what the plain modules give, for every kind of codec."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nanocodec.config import VARIANTS, CodecConfig
from nanocodec.inference import LatentDecoder, LatentEncoder
from nanocodec.model import NanoCodec
from nanocodec.testing import narrow, seeded_audio, seeded_model, tiny

CONFIGS = {
    "tiny": tiny(),
    "zeros around": replace(tiny(), encoder=replace(tiny().encoder, pad_mode="zeros")),
    "1.78k": narrow(VARIANTS["1.78k"], 2, 32),
    "1.89k": narrow(VARIANTS["1.89k"], 2, 32),
    "lfsc": narrow(VARIANTS["lfsc"], 2, 96),
}


@pytest.mark.parametrize("frames", [1, 9])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
@pytest.mark.parametrize("folded", [False, True], ids=["weight-normed", "folded"])
def test_a_whole_recording_has_the_latents_of_the_plain_encoder_bit_for_bit(
    config: CodecConfig, folded: bool, frames: int
) -> None:
    torch.manual_seed(0)
    model = NanoCodec(config).eval()
    if folded:
        model.fold()
    audio = torch.stack([seeded_audio(frames * model.hop, seed) for seed in (0, 1)])
    with torch.inference_mode():
        written = model.audio_encoder(audio[:, None])
        assert torch.equal(LatentEncoder(model.audio_encoder)(audio[:, None], last=True), written)
        assert torch.equal(model.encode_latent(audio)[0], written)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_latents_of_pieces_are_those_of_the_whole(config: CodecConfig) -> None:
    model = seeded_model(config)
    audio = seeded_audio(30 * model.hop)[None, None]
    encoder = LatentEncoder(model.audio_encoder)
    with torch.inference_mode():
        pieces = [encoder(part, last=False) for part in audio.split(7 * model.hop + 3, dim=2)]
        pieces.append(encoder(audio[:, :, :0], last=True))
        written = model.audio_encoder(audio)
    assert sum(piece.shape[2] > 0 for piece in pieces) > 1
    torch.testing.assert_close(torch.cat(pieces, 2), written, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["tiny", "1.78k", "1.89k"])
def test_decoding_in_pieces_gives_the_samples_of_the_plain_decoder(name: str) -> None:
    model = seeded_model(CONFIGS[name])
    with torch.inference_mode():
        latent = model.vector_quantizer(model.encode_latent(seeded_audio(12 * model.hop)[None])[0])
        written = model.audio_decoder(latent)
        decoder = LatentDecoder(model.audio_decoder, 1)
        made = torch.cat([decoder(part) for part in latent.split([5, 1, 6], dim=2)], 2)
    assert written.std() > 1e-3
    torch.testing.assert_close(made, written, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_stages_end_with_what_forward_gives(name: str) -> None:
    model = seeded_model(CONFIGS[name])
    config, frames = model.config, 4
    audio = seeded_audio(frames * model.hop)[None, None]
    with torch.inference_mode():
        *features, latent = model.audio_encoder.stages(audio)
        assert torch.equal(latent, model.audio_encoder(audio))
        *stages, samples = model.audio_decoder.stages(latent)
        bounded = samples.tanh() if config.decoder.output_activation == "tanh" else samples.clamp(-1, 1)
        assert torch.equal(bounded, model.audio_decoder(latent))
    widths, rates = config.encoder.base_channels, config.strides[::-1]
    length = audio.shape[2]
    for i, feature in enumerate(features):
        assert feature.shape == (1, widths * 2**i, length)
        length //= config.strides[i]
    length = frames
    for i, stage in enumerate(stages):
        length *= rates[i]
        assert stage.shape == (1, config.decoder.base_channels >> (i + 1), length)

"""The codec's behaviour: lengths, ragged batches, causality, folding, and blocks against torch's own."""

import dataclasses

import pytest
import torch

from nanocodec.config import DecoderConfig, EncoderConfig, get_config
from nanocodec.layers import (
    has_weight_norm,
)
from nanocodec.model import NanoCodec


def narrow(name: str) -> NanoCodec:
    """A variant with few channels and latents spread wide, so that codes vary and equality means something."""
    config = get_config(name)
    encoder = dataclasses.replace(config.encoder, base_channels=2, kernel_sizes=(3, 7), dilations=(1, 3))
    decoder = dataclasses.replace(config.decoder, base_channels=64, kernel_sizes=(3, 7), dilations=(1, 3))
    torch.manual_seed(0)
    model = NanoCodec(dataclasses.replace(config, encoder=encoder, decoder=decoder)).fold().eval()
    with torch.no_grad():
        audio = torch.randn(1, 8 * config.hop) * 0.3
        post = model.audio_encoder.post_conv.conv
        latent, _ = model.encode_latent(audio)
        scale = latent.std(dim=(0, 2)).reciprocal()
        post.bias.sub_(latent.mean(dim=(0, 2))).mul_(scale)
        post.weight.mul_(scale[:, None, None])
        for name_, parameter in model.audio_decoder.named_parameters():
            if name_.endswith("weight"):
                parameter.mul_(1.7)
    return model


@pytest.fixture(scope="module", params=["1.1k", "1.89k", "lfsc"])
def model(request: pytest.FixtureRequest) -> NanoCodec:
    return narrow(request.param)


@torch.no_grad()
def test_codes_of_the_narrow_model_vary(model: NanoCodec) -> None:
    codes, _ = model.encode(torch.randn(2, 6 * model.hop) * 0.3)
    assert len(codes.unique()) > 50


@torch.no_grad()
@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("frames", [1, 3, 6])
def test_lengths(model: NanoCodec, frames: int, extra: int) -> None:
    samples = frames * model.hop + extra
    codes, lengths = model.encode(torch.randn(2, samples) * 0.3)
    expected = frames + (extra > 0)
    assert codes.shape == (2, 8, expected)
    assert codes.dtype == torch.int32
    assert lengths.tolist() == [expected, expected]
    assert model.decode(codes).shape == (2, expected * model.hop)


@torch.no_grad()
def test_a_single_sample_and_silence_are_audio_too(model: NanoCodec) -> None:
    for audio in (torch.tensor([[0.5]]), torch.zeros(1, 3 * model.hop)):
        codes, _ = model.encode(audio)
        assert torch.isfinite(model.decode(codes)).all()


@torch.no_grad()
def test_a_ragged_batch_equals_single_runs(model: NanoCodec) -> None:
    torch.manual_seed(1)
    lengths = [6 * model.hop, 1, 2 * model.hop + 1, 3 * model.hop, 5 * model.hop - 7]
    audio = torch.randn(len(lengths), max(lengths)) * 0.3  # what lies past an item's end must not matter
    codes, frames = model.encode(audio, torch.tensor(lengths))
    decoded = model.decode(codes, frames)
    for row, length in enumerate(lengths):
        alone, (n,) = model.encode(audio[row : row + 1, :length])
        assert int(frames[row]) == int(n)
        assert torch.equal(codes[row, :, :n], alone[0])
        assert not codes[row, :, n:].any()
        single = model.decode(alone)[0]
        torch.testing.assert_close(decoded[row, : len(single)], single, atol=2e-5, rtol=0)
        assert not decoded[row, len(single) :].any()


@torch.no_grad()
@pytest.mark.parametrize("name", ["1.1k", "1.89k"])
def test_a_causal_decoder_never_looks_ahead(name: str) -> None:
    model = narrow(name)
    codes = torch.randint(0, 2016, (1, 8, 6), generator=torch.Generator().manual_seed(0))
    whole = model.decode(codes)
    for n in (1, 2, 5):
        torch.testing.assert_close(whole[:, : n * model.hop], model.decode(codes[:, :, :n]), atol=2e-5, rtol=0)
    changed = codes.clone()
    changed[:, :, 3] = (changed[:, :, 3] + 1000) % 2016
    difference = (model.decode(changed) - whole).abs()[0]
    assert difference[: 3 * model.hop].max() <= 2e-5
    assert difference[3 * model.hop : 4 * model.hop].max() > 1e-4


@torch.no_grad()
def test_lfsc_does_look_ahead() -> None:
    model = narrow("lfsc")
    codes = torch.randint(0, 2016, (1, 8, 6), generator=torch.Generator().manual_seed(0))
    assert (model.decode(codes)[:, : 3 * model.hop] - model.decode(codes[:, :, :3])).abs().max() > 1e-4


@torch.no_grad()
def test_folding_changes_nothing_but_speed() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(
        get_config("1.1k"), encoder=EncoderConfig(2, (3, 7), (1,)), decoder=DecoderConfig(32, (3, 7), (1,))
    )
    model = NanoCodec(config).eval()
    audio = torch.randn(1, 2 * model.hop) * 0.3
    before = model(audio)
    assert has_weight_norm(model)
    model.fold()
    assert not has_weight_norm(model)
    torch.testing.assert_close(model(audio), before, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(1, 7, 2, dtype=torch.int32), r"codes must be \[B, 8, N\]"),
        (torch.zeros(8, 2, dtype=torch.int32), r"codes must be \[B, 8, N\]"),
        (torch.full((1, 8, 2), 2016), r"codes must lie in \[0, 2016\), got 2016"),
        (torch.full((1, 8, 2), -1), r"codes must lie in \[0, 2016\), got -1"),
        (torch.zeros(1, 8, 2), "codes must be integers"),
    ],
)
def test_codes_that_no_encoder_made_are_refused(codes: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        narrow("1.1k").decode(codes)


@torch.no_grad()
def test_audio_and_lengths_are_checked() -> None:
    model = narrow("1.1k")
    with pytest.raises(ValueError, match=r"audio must be \[B, T\]"):
        model.encode(torch.zeros(100))
    with pytest.raises(ValueError, match=r"lengths must have shape \[2\]"):
        model.encode(torch.zeros(2, 100), torch.tensor([100]))
    with pytest.raises(ValueError, match=r"lengths must lie in \[0, 100\] samples"):
        model.encode(torch.zeros(1, 100), torch.tensor([101]))

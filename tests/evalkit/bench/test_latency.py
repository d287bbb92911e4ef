"""Lookahead and reach by perturbation, beside codecs of known reach and beside gradients through networks."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch

from evalkit.baselines import nanocodec as adapters
from evalkit.baselines.codec2 import FAMILY as CODEC2
from evalkit.baselines.opus import FAMILY as OPUS
from evalkit.baselines.pcm import FAMILY as PCM
from evalkit.bench import latency
from evalkit.bench.directory import WHOLE
from evalkit.bench.latency import NoFrames, measure
from evalkit.codecs import CodecInfo
from nanocodec.config import get_config
from nanocodec.streaming import lookahead
from nanocodec.testing import narrow, seeded_model

from .fakes import HOP, RATE, RestlessCodec, WideCodec, WindowCodec


@pytest.fixture(autouse=True)
def short_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "LONGEST", 2.0)


@pytest.mark.parametrize(
    ("past", "ahead", "late", "early"), [(0, 0, 0, 0), (100, 37, 200, 91), (0, -9, 5, 0), (240, 480, 0, 333)]
)
def test_windows_are_measured_to_the_sample(past: int, ahead: int, late: int, early: int) -> None:
    found = measure(WindowCodec(past, ahead, late, early), seconds=0.6)
    assert found.frame == HOP and found.sample_rate == RATE
    assert (found.encoder["0"].ahead, found.encoder["0"].back) == (ahead, past)
    assert (found.decoder["0"].ahead, found.decoder["0"].back) == (early, late)
    assert found.algorithmic("0") == (HOP + max(0, ahead) + early) / RATE * 1000
    assert found.encoder["1%"].why_ahead == "it exposes no latents" and found.algorithmic("1%") is None


def test_an_encoder_that_sees_everything_has_no_number() -> None:
    found = measure(WindowCodec(ahead=np.inf), seconds=0.6)
    assert found.encoder["0"].ahead is None and found.encoder["0"].why_ahead == WHOLE
    assert found.algorithmic("0") is None and found.decoder["0"].ahead == 0


def test_a_decoder_with_a_rate_of_its_own_is_measured_in_samples_of_the_input() -> None:
    found = measure(WideCodec(late=200, early=91), seconds=0.6).decoder["0"]
    assert (found.ahead, found.back) == (91, 200)


def test_longer_audio_is_tried_before_the_whole_utterance_is_said() -> None:
    assert measure(WindowCodec(ahead=5 * RATE // 10), seconds=0.6).encoder["0"].ahead == 5 * RATE // 10


def test_an_encoder_that_refuses_what_is_loud_is_measured_at_full_scale() -> None:
    assert measure(WindowCodec(past=30, ahead=20, loud=1.0), seconds=0.6).encoder["0"].ahead == 20


def test_audio_that_differs_each_time_has_no_reach_at_zero() -> None:
    found = measure(RestlessCodec(early=40), encoder=False, seconds=0.6)
    assert found.decoder["0"].ahead is None and "the second time" in found.decoder["0"].why_ahead
    assert found.decoder["1%"].ahead == 40
    assert found.encoder["0"].why_ahead == "not measured"


def test_a_payload_without_frames_has_no_latency() -> None:
    with pytest.raises(NoFrames, match="no frames"):
        measure(PCM.build("float32"))


def test_classical_codecs_are_late_by_what_they_declare() -> None:
    pytest.importorskip("av")
    opus = OPUS.build("6k")
    found = measure(opus, seconds=2.0)
    assert found.frame == 1920
    assert found.encoder["0"].ahead <= 0
    declared = opus.lookahead[1]  # 6.5 ms; the decoder's filters are silent for a third of a millisecond
    assert declared - 24 <= found.decoder["0"].ahead <= declared


@pytest.mark.slow  # decodes in processes of its own
def test_codec2_is_late_by_what_it_declares() -> None:
    pytest.importorskip("pycodec2")
    codec = CODEC2.build("1.2k")
    found = measure(codec, seconds=1.0)
    assert found.encoder["0"].ahead <= 0 and abs(found.decoder["0"].ahead - codec.lookahead[1]) <= 1


@cache
def small(variant: str) -> adapters.NanoCodecCodec:
    """The adapter of a narrow model with every stride, kernel and dilation of `variant`."""
    config = narrow(get_config(variant))
    card = CodecInfo(
        config.sample_rate, config.frame_rate, (config.codebook_size,) * config.num_codebooks,
        causal=config.decoder.causal,
    )  # fmt: skip
    return adapters.NanoCodecCodec(variant, seeded_model(config), card, {})


@pytest.mark.parametrize("variant", ["lfsc", pytest.param("1.89k", marks=pytest.mark.slow)])
def test_nanocodec_looks_as_far_as_its_kernels_say(variant: str) -> None:
    codec = small(variant)
    config = get_config(variant)
    found = measure(codec, seconds=1.5)
    assert found.frame == config.hop
    assert found.encoder["0"].ahead == lookahead(config) == {"lfsc": 5172, "1.89k": 12_722}[variant]
    assert 0 <= found.encoder["1%"].ahead < found.encoder["0.1%"].ahead < found.encoder["0"].ahead
    structural = adapters.decoder_lookahead(config)
    # The outermost samples of a receptive field are below the last digit of a float32.
    assert structural - config.hop / 2 <= found.decoder["0"].ahead <= structural
    assert (structural == 0) == config.decoder.causal


@pytest.mark.slow
def test_the_encoder_at_12_5_frames_a_second_looks_24000_samples_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "LONGEST", 12.0)
    # The outermost sample may be below the last digit of a float32: `structure` finds it in float64.
    assert 24_000 - measure(small("1.78k")).encoder["0"].ahead in (0, 1)


def structure(variant: str) -> tuple[int, int]:
    """Lookahead of encoder and decoder by gradients, which know no rounding: the last sample with a part in a frame's
    latents, the first sample in which a frame's latent has a part."""
    torch.manual_seed(0)
    config = narrow(get_config(variant))
    model = deepcopy(small(variant).network().module).double()
    frames, hop = 36, config.hop
    wav = (0.1 * torch.randn(1, 1, frames * hop, dtype=torch.double)).requires_grad_()
    (gradient,) = torch.autograd.grad(model.audio_encoder(wav)[:, :, frames // 2].sum(), wav)
    encoder = int(gradient[0, 0].nonzero().max()) - ((frames // 2 + 1) * hop - 1)
    latent = torch.randn(1, config.latent_dim, frames, dtype=torch.double)
    tangent = torch.zeros_like(latent)
    tangent[:, :, frames // 2] = torch.randn(config.latent_dim, dtype=torch.double)
    _, change = torch.func.jvp(model.audio_decoder, (latent,), (tangent,))
    return encoder, frames // 2 * hop - int(change.flatten().nonzero().min())


@pytest.mark.parametrize(
    "variant", ["lfsc", *(pytest.param(rate, marks=pytest.mark.slow) for rate in ("1.89k", "1.78k"))]
)
def test_what_adapters_declare_is_what_gradients_say(variant: str) -> None:
    assert structure(variant) == small(variant).lookahead

"""Streaming: any cut of the input gives what the whole gives, at a memory and a cost that do not grow."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanocodec import kernels
from nanocodec.config import VARIANTS, CodecConfig
from nanocodec.model import NanoCodec
from nanocodec.streaming import lookahead
from nanocodec.testing import narrow, seeded_audio, seeded_model, tiny

CONFIGS = {
    "tiny": tiny(),
    "wide": replace(tiny(), decoder=replace(tiny().decoder, base_channels=256)),  # 128 and 64 channels, then 32
    "reflecting": replace(tiny(), encoder=replace(tiny().encoder, pad_mode="reflect")),
    "12.5 fps": narrow(VARIANTS["1.78k"], 2, 32),
    "21.5 fps": narrow(VARIANTS["1.89k"], 2, 32),
}


@pytest.fixture(scope="module")
def models() -> dict[str, NanoCodec]:
    return {name: seeded_model(config) for name, config in CONFIGS.items()}


@pytest.fixture(params=["compiled kernels", "torch alone"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies between the convolutions, with and without what was compiled."""
    if request.param == "torch alone":
        monkeypatch.setattr(kernels, "_library", lambda: None)
    elif not kernels.compiled(torch.device("cpu")):
        pytest.skip("the kernels were not compiled: no C compiler")


def random_codes(config: CodecConfig, batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, config.codebook_size, (batch, config.num_codebooks, frames), generator=generator)


def offline(model: NanoCodec, codes: torch.Tensor) -> torch.Tensor:
    """The decoder as it is written down, layer after layer over the whole."""
    with torch.inference_mode():
        return model.audio_decoder(model.vector_quantizer.decode(codes))[:, 0]


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("name", ["wide", "12.5 fps", "21.5 fps"])
@pytest.mark.parametrize("chunks", [[1] * 8, [8], [3, 1, 0, 4], [2, 2, 2, 1, 1]])
def test_any_chunking_decodes_to_the_offline_samples(
    name: str, chunks: list[int], models: dict[str, NanoCodec]
) -> None:
    model = models[name]
    codes = random_codes(model.config, 2, 8)
    stream = model.streaming_decoder(2)
    pieces = [stream.push(part) for part in codes.split(chunks, dim=2)]
    assert [piece.shape for piece in pieces] == [(2, n * model.hop) for n in chunks]
    whole = offline(model, codes)
    assert whole.std() > 1e-3
    assert (torch.cat(pieces, 1) - whole).abs().max() <= 1e-5
    with torch.inference_mode():
        assert (model.decode(codes) - whole).abs().max() <= 1e-5


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_chunking_of_many_frames(models: dict[str, NanoCodec], data: st.DataObject) -> None:
    model = models["tiny"]
    frames = data.draw(st.integers(1, 300))
    cuts = sorted(data.draw(st.lists(st.integers(0, frames), max_size=8)))
    codes = random_codes(model.config, 1, frames, seed=frames)
    stream = model.streaming_decoder()
    edges = [0, *cuts, frames]
    out = torch.cat([stream.push(codes[:, :, a:b]) for a, b in pairwise(edges)], 1)
    assert (out - offline(model, codes)).abs().max() <= 1e-5


@pytest.mark.usefixtures("either_way")
def test_offline_decoding_in_blocks_is_the_decoder_as_written(
    models: dict[str, NanoCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nanocodec.inference.BLOCK", 2000)
    monkeypatch.setattr("nanocodec.inference.FIRST_BLOCK", 3)
    model = models["12.5 fps"]
    codes = random_codes(model.config, 3, 10)
    lengths = torch.tensor([10, 1, 4])
    with torch.inference_mode():
        blocks = model.decode(codes, lengths)
    with torch.enable_grad():
        written = model.decode(codes, lengths).detach()
    assert (blocks - written).abs().max() <= 1e-5


@pytest.mark.usefixtures("either_way")
def test_streams_of_a_batch_are_independent_and_reset_alone(models: dict[str, NanoCodec]) -> None:
    model = models["tiny"]
    codes = random_codes(model.config, 2, 40)
    stream = model.streaming_decoder(2)
    stream.push(codes[:, :, :17])
    stream.reset([1])
    both = torch.cat([codes[:1, :, 17:], codes[1:, :, :23]])
    out = stream.push(both)
    assert (out[0] - offline(model, codes)[0, 17 * model.hop :]).abs().max() <= 1e-5
    assert (out[1] - offline(model, codes[1:, :, :23])[0]).abs().max() <= 1e-5
    stream.reset()
    again = stream.push(codes)
    assert (again - offline(model, codes)).abs().max() <= 1e-5
    with pytest.raises(ValueError, match="no stream 2"):
        stream.reset([2])


@pytest.mark.usefixtures("either_way")
def test_what_is_carried_neither_grows_nor_moves(models: dict[str, NanoCodec]) -> None:
    model = models["tiny"]
    stream = model.streaming_decoder()
    before = [(state.data_ptr(), state.shape) for state in stream._decoder.states]
    for chunk in random_codes(model.config, 1, 400).split(7, dim=2):
        stream.push(chunk)
    assert [(state.data_ptr(), state.shape) for state in stream._decoder.states] == before


def test_bad_chunks_and_models_are_refused(models: dict[str, NanoCodec]) -> None:
    stream = models["tiny"].streaming_decoder(2)
    with pytest.raises(ValueError, match="2 streams"):
        stream.push(random_codes(CONFIGS["tiny"], 1, 1))
    with pytest.raises(ValueError, match=r"\[0, 2016\)"):
        stream.push(torch.full((2, 2, 1), 2016))
    with pytest.raises(ValueError, match="at least 1"):
        models["tiny"].streaming_decoder(0)
    with pytest.raises(ValueError, match="non-causal"):
        NanoCodec(narrow(VARIANTS["lfsc"])).streaming_decoder()


@pytest.mark.usefixtures("either_way")
def test_bf16_convolutions_stay_close(models: dict[str, NanoCodec]) -> None:
    model = models["wide"]
    codes = random_codes(model.config, 1, 30)
    stream = model.streaming_decoder(precision="bf16")
    out = torch.cat([stream.push(chunk) for chunk in codes.split(4, dim=2)], 1)
    whole = offline(model, codes)
    assert out.dtype == torch.float32
    assert 1e-6 < (out - whole).abs().max() < 0.05 * whole.abs().max()
    with torch.inference_mode():
        assert (model.decode(codes, precision="bf16") - out).abs().max() < 0.01 * whole.abs().max()
    with pytest.raises(ValueError, match="without gradients"):
        model.decode(codes, precision="bf16")


@pytest.mark.usefixtures("either_way")
def test_bf16_without_instructions_for_it_rounds_as_with_them(
    models: dict[str, NanoCodec], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["wide"]
    codes = random_codes(model.config, 1, 12)
    made = []
    for native in (True, False):
        monkeypatch.setattr("nanocodec.causal._has_bf16", lambda _, native=native: native)
        made.append(model.streaming_decoder(precision="bf16").push(codes))
    loss = (made[0] - offline(model, codes)).abs().mean()
    assert (made[0] - made[1]).abs().mean() < 0.5 * loss


@pytest.mark.parametrize(("name", "samples"), [("1.78k", 24000), ("0.6k", 24000), ("1.89k", 12722), ("lfsc", 5172)])
def test_lookahead_is_what_the_layers_add_up_to(name: str, samples: int) -> None:
    assert lookahead(VARIANTS[name]) == samples


@pytest.mark.parametrize("name", list(CONFIGS))
def test_frames_come_out_once_their_lookahead_is_in_and_not_before(name: str, models: dict[str, NanoCodec]) -> None:
    model = models[name]
    stream = model.streaming_encoder()
    due = 2 * model.hop + stream.lookahead
    audio = seeded_audio(due)[None]
    assert stream.push(audio[:, : due - 1]).shape[2] == 1
    assert stream.push(audio[:, due - 1 :]).shape[2] == 1


@pytest.mark.parametrize("name", list(CONFIGS))
def test_nothing_beyond_the_lookahead_matters(name: str, models: dict[str, NanoCodec]) -> None:
    model = models[name]
    reach = lookahead(model.config)
    audio = seeded_audio(4 * model.hop + reach)[None]
    other = audio.clone()
    other[:, 2 * model.hop + reach :] = -0.7
    nearer = audio.clone()
    nearer[:, 2 * model.hop + reach - 1] += 1e3
    with torch.inference_mode():
        latent, changed, touched = (model.encode_latent(x)[0][:, :, :2] for x in (audio, other, nearer))
    assert (latent - changed).abs().max() <= 1e-5
    if model.hop == 16:  # one sample earlier does matter, though in a deep network too little for fp32
        assert (latent - touched)[:, :, 1].abs().max() > 1e-5


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_chunked_encoding_gives_the_offline_tokens(models: dict[str, NanoCodec], data: st.DataObject) -> None:
    model = models[data.draw(st.sampled_from(["tiny", "reflecting"]))]
    samples = data.draw(st.integers(1, 900))
    cuts = sorted(data.draw(st.lists(st.integers(0, samples), max_size=6)))
    audio = torch.stack([seeded_audio(samples, seed) for seed in (samples, 7)])
    stream = model.streaming_encoder(2)
    edges = [0, *cuts, samples]
    codes = [stream.push(audio[:, a:b]) for a, b in pairwise(edges)]
    codes.append(stream.finish())
    with torch.inference_mode():
        assert torch.equal(torch.cat(codes, 2), model.encode(audio)[0])
    with pytest.raises(ValueError, match="finished"):
        stream.push(audio)
    stream.reset()
    assert torch.equal(torch.cat([stream.push(audio), stream.finish()], 2), torch.cat(codes, 2))


@pytest.mark.parametrize("name", ["12.5 fps", "21.5 fps"])
def test_chunked_encoding_of_the_real_shapes(name: str, models: dict[str, NanoCodec]) -> None:
    model = models[name]
    audio = seeded_audio(60_000)[None]
    stream = model.streaming_encoder()
    codes = torch.cat([*(stream.push(part) for part in audio.split(9_999, dim=1)), stream.finish()], 2)
    with torch.inference_mode():
        whole = model.encode(audio)[0]
    assert len(whole.unique()) > 10
    assert torch.equal(codes, whole)

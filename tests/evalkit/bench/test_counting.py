"""Parameters and operations beside counts by hand and beside what is known of released models."""

import threading

import pytest
import torch
from torch import nn

from evalkit.baselines import nanocodec as adapters
from evalkit.baselines.network import NetworkCodec
from evalkit.baselines.pcm import FAMILY as PCM
from evalkit.bench.counting import CountError, count
from evalkit.codecs import CodecInfo, Network
from nanocodec.config import get_config
from nanocodec.model import NanoCodec

CARD = CodecInfo(16_000, 100.0, (64, 64), causal=True)
HOP = 160


class Plain(nn.Module):
    """Every kind of layer, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(1, 8, 7, stride=HOP, padding=3))
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True)
        self.linear = nn.Linear(6, 4)
        self.register_buffer("codebook", torch.randn(64, 4))
        self.register_buffer("window", torch.ones(32))
        self.up = nn.ConvTranspose1d(4, 1, HOP, stride=HOP, groups=1)
        self.unused = nn.Linear(100, 100)


class PlainCodec(NetworkCodec):
    def tokens(self, audio: torch.Tensor) -> torch.Tensor:
        model = self._model
        x = model.linear(model.lstm(model.conv(audio[None, None]).transpose(1, 2))[0])
        return torch.cdist(x, model.codebook[None]).argmin(-1).expand(2, -1)

    def audio(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._model.up(nn.functional.embedding(tokens[0], self._model.codebook).T[None])[0, 0]


def test_every_layer_is_counted_as_by_hand() -> None:
    found = count(PlainCodec("plain", Plain(), CARD, {}), seconds=2.0)
    frames = 200
    conv, lstm = frames * 8 * 7, frames * (4 * 6 * (8 + 6) + 4 * 6 * (6 + 6))
    linear, search = frames * 6 * 4, frames * 64 * 4
    assert found.encode.gmac == pytest.approx((conv + lstm + linear + search) / 2 / 1e9)
    assert found.decode.gmac == pytest.approx(frames * 4 * HOP / 2 / 1e9)


def test_parameters_are_those_that_are_used_with_weight_norm_folded() -> None:
    found = count(PlainCodec("plain", Plain(), CARD, {}))
    lstm = 4 * 6 * (8 + 6) + 4 * 6 * (6 + 6) + 4 * 4 * 6
    encoder, codebook, decoder = 8 * 7 + 8 + lstm + 6 * 4 + 4, 64 * 4, 4 * HOP + 1
    assert found.parameters(found.encode) == encoder + codebook
    assert found.parameters(found.decode) == codebook + decoder
    assert found.parameters(found.encode, found.decode) == encoder + codebook + decoder


def test_an_lstm_that_looks_both_ways_counts_twice() -> None:
    model = Plain()
    model.lstm = nn.LSTM(8, 3, num_layers=2, batch_first=True, bidirectional=True)
    one_way, found = count(PlainCodec("plain", Plain(), CARD, {})), count(PlainCodec("plain", model, CARD, {}))
    fewer = 4 * 6 * (8 + 6) + 4 * 6 * (6 + 6) - 2 * (4 * 3 * (8 + 3) + 4 * 3 * (6 + 3))  # at 100 frames a second
    assert one_way.encode.gmac - found.encode.gmac == pytest.approx(100 * fewer / 1e9)


def test_the_codec_itself_keeps_its_weights() -> None:
    codec = PlainCodec("plain", Plain(), CARD, {})
    count(codec)
    assert not any(tensor.is_meta for tensor in codec.network().module.parameters())
    assert codec.network().module.lstm.forward.__func__ is nn.LSTM.forward


class ThreadedCodec(PlainCodec):
    """Decodes in another thread, which FlopCounterMode does not see."""

    def audio(self, tokens: torch.Tensor) -> torch.Tensor:
        made: list[torch.Tensor] = []
        thread = threading.Thread(target=lambda: made.append(super(ThreadedCodec, self).audio(tokens)))
        thread.start()
        thread.join()
        return made[0]


def test_two_counts_that_differ_are_no_number() -> None:
    with pytest.raises(CountError, match=r"two counts differ: 0 MACs by FlopCounterMode, .* by its layers"):
        count(ThreadedCodec("threaded", Plain(), CARD, {}))


class AskingCodec(PlainCodec):
    """Wants to know a number."""

    def tokens(self, audio: torch.Tensor) -> torch.Tensor:
        return super().tokens(audio * float(audio.max()))


def test_a_network_that_needs_numbers_is_not_counted() -> None:
    with pytest.raises(CountError, match="does not run on the meta device"):
        count(AskingCodec("asking", Plain(), CARD, {}))


def test_a_codec_without_a_network_is_not_counted() -> None:
    with pytest.raises(CountError, match="no network"):
        count(PCM.build("float32"))


def on_meta(variant: str) -> adapters.NanoCodecCodec:
    config = get_config(variant)
    card = CodecInfo(config.sample_rate, config.frame_rate, (config.codebook_size,) * config.num_codebooks)
    with torch.device("meta"):
        return adapters.NanoCodecCodec(variant, NanoCodec(config).fold(), card, {})


@pytest.mark.parametrize(
    ("variant", "encoder", "decoder", "parameters"),
    [
        ("lfsc", 30.40, 38.17, (57_629_216, 55_035_393, 112_664_609)),
        ("1.89k", 21.47, 26.34, (31_004_288, 31_564_085, 62_568_373)),
        ("1.78k", 13.98, 17.15, (30_457_492, 31_683_533, 62_141_025)),
    ],
)
def test_released_models_cost_what_upstreams_modules_do(
    variant: str, encoder: float, decoder: float, parameters: tuple[int, int, int]
) -> None:
    """Parameters are those of NeMo's AudioCodecModel, folded; GMAC/s were computed by hand from its layers."""
    found = count(on_meta(variant))
    assert (found.encode.gmac, found.decode.gmac) == (
        pytest.approx(encoder, rel=2e-3),
        pytest.approx(decoder, rel=2e-3),
    )
    assert (
        found.parameters(found.encode), found.parameters(found.decode), found.parameters(found.encode, found.decode)
    ) == parameters  # fmt: skip


def test_a_network_says_whether_it_takes_batches() -> None:
    codec = PlainCodec("plain", Plain(), CARD, {})
    network = codec.network()
    assert isinstance(network, Network) and not network.batched
    with torch.inference_mode():
        tokens = network.encode(torch.zeros(3, 2 * HOP))
        assert tokens.shape == (3, 2, 2) and network.decode(tokens).shape == (3, 2 * HOP)


@pytest.mark.parametrize(
    ("spec", "encoder", "decoder", "parameters"),
    [
        ("encodec@1.5k", 1.51, 1.49, 15_108_961),
        ("dac@6k-16khz", 12.29, 27.82, 74_141_697),
        ("snac", 2.40, 4.85, 19_823_577),
    ],
)
def test_packages_are_counted_in_their_released_size(
    spec: str, encoder: float, decoder: float, parameters: int
) -> None:
    """Parameters are those on the families' cards, less the magnitudes of weight normalisation."""
    pytest.importorskip("transformers")
    pytest.importorskip("snac")
    _check(spec, encoder, decoder, parameters)


@pytest.mark.slow
def test_mimi_and_wavtokenizer_are_counted_in_their_released_size() -> None:
    pytest.importorskip("transformers")
    _check("mimi@1.1k", 2.77, 2.75, 83_502_913)
    _check("wavtokenizer@0.9k-large", 1.75, 4.80, 73_784_690)


def _check(spec: str, encoder: float, decoder: float, parameters: int) -> None:
    from evalkit.pipeline.choice import choose

    choice = choose(spec)
    found = count(choice.family.random(choice.rate, "cpu"))  # type: ignore[attr-defined]
    assert (found.encode.gmac, found.decode.gmac) == (
        pytest.approx(encoder, abs=6e-3),
        pytest.approx(decoder, abs=6e-3),
    )
    assert found.parameters(found.encode, found.decode) == parameters

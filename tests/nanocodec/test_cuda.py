"""On a GPU: the codes of the processor, its samples within 1e-5, and streaming by CUDA graphs. Skipped elsewhere."""

from __future__ import annotations

import copy

import pytest
import torch

from nanocodec.config import VARIANTS
from nanocodec.model import NanoCodec
from nanocodec.testing import narrow, seeded_audio, seeded_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")


@pytest.fixture(scope="module")
def here() -> NanoCodec:
    return seeded_model(narrow(VARIANTS["1.78k"], 8, 128))


@pytest.fixture(scope="module")
def there(here: NanoCodec) -> NanoCodec:
    return copy.deepcopy(here).cuda()


@pytest.fixture(scope="module")
def codes(here: NanoCodec) -> torch.Tensor:
    with torch.inference_mode():
        return here.encode(torch.stack([seeded_audio(40 * here.hop, seed) for seed in range(3)]))[0]


@torch.inference_mode()
def test_codes_and_samples_are_the_processors_whatever_torch_may_round(
    here: NanoCodec, there: NanoCodec, codes: torch.Tensor
) -> None:
    audio = torch.stack([seeded_audio(40 * here.hop, seed) for seed in range(3)])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        found = there.encode(audio.cuda())[0].cpu()
        assert (found != codes).float().mean() < 1e-3
        for one in (codes, codes[:1]):
            assert (there.decode(one.cuda()).cpu() - here.decode(one)).abs().max() <= 1e-5
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.inference_mode()
def test_a_single_stream_is_the_whole(there: NanoCodec, codes: torch.Tensor, precision: str) -> None:
    tokens = codes[:1].cuda()
    whole = there.decode(tokens, precision=precision)
    stream = there.streaming_decoder(precision=precision)
    out = torch.cat([stream.push(frame) for frame in tokens.split(1, dim=2)], 1)
    assert (out - whole).abs().max() <= (1e-5 if precision == "fp32" else 0.01 * float(whole.abs().max()))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_recorded_stream_is_the_whole(there: NanoCodec, codes: torch.Tensor, precision: str) -> None:
    tokens = codes.cuda()
    with torch.inference_mode():
        whole = there.decode(tokens, precision=precision)
    close = 1e-5 if precision == "fp32" else 0.01 * float(whole.abs().max())
    stream = there.streaming_decoder(3, precision=precision)
    out = [stream.push(chunk) for chunk in tokens.split([1] * 10 + [4] * 5 + [1] * 10, dim=2)]
    assert stream._graph is not None
    assert (torch.cat(out, 1) - whole).abs().max() <= close
    stream.reset([1])
    again = torch.cat([stream.push(frame) for frame in tokens[:, :, :6].split(1, dim=2)], 1)
    assert (again[1] - whole[1, : again.shape[1]]).abs().max() <= close
    assert (again[0] - whole[0, : again.shape[1]]).abs().max() > close  # the others went on
    with pytest.raises(ValueError, match=r"\[0, 2016\)"):
        stream.push(torch.full_like(tokens[:, :, :1], 2016))


def test_chunked_encoding_gives_the_codes_of_the_whole(here: NanoCodec, there: NanoCodec) -> None:
    audio = seeded_audio(60_000)[None].cuda()
    stream = there.streaming_encoder()
    found = torch.cat([*(stream.push(part) for part in audio.split(9_999, dim=1)), stream.finish()], 2)
    with torch.inference_mode():
        whole = there.encode(audio)[0]
    assert found.shape == whole.shape
    assert (found != whole).float().mean() < 1e-3

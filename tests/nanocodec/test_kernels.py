"""The compiled kernels beside the model's own modules, in double precision where that tells more."""

from __future__ import annotations

import math
import shutil
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nanocodec import kernels
from nanocodec.layers import LEAKY_SLOPE, HalfSnake
from nanocodec.testing import seeded_model, tiny

CPU = torch.device("cpu")
here = pytest.mark.skipif(not kernels.compiled(CPU), reason="the kernels were not compiled: no C compiler")


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("cc"), reason="no C compiler")
def test_where_there_is_a_compiler_there_are_kernels() -> None:
    assert kernels.compiled(CPU)
    assert not kernels.compiled(torch.device("cuda"))


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """[B, C, T] as [B, C, 1, T], the channels innermost in memory."""
    return x[:, :, None].contiguous(memory_format=torch.channels_last)


def activation(channels: int, seed: int) -> HalfSnake:
    torch.manual_seed(seed)
    module = HalfSnake(channels).double()
    module.snake_act.alpha.data.uniform_(0.05, 4)
    return module.requires_grad_(False)


@here
@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 2, 3, 27, 54, 512, 864, 1100]),
    length=st.integers(1, 40),
    keep=st.integers(0, 12),
    half=st.booleans(),
    added=st.booleans(),
    seed=st.integers(0, 99),
)
def test_advance_is_the_activation_of_a_sum_behind_the_past(
    batch: int, channels: int, length: int, keep: int, half: bool, added: bool, seed: int
) -> None:
    module = activation(channels, seed)
    table = kernels.tables(channels, module.snake_act.alpha.flatten().float(), LEAKY_SLOPE)
    kind = torch.bfloat16 if half else torch.float32
    x = channels_last(5 * torch.randn(batch, channels, length))
    change = channels_last(torch.randn(batch, channels, length).to(kind)) if added else None
    past = channels_last(torch.randn(batch, channels, keep).to(kind))
    before, given = past.clone(), x.clone()
    out, total = kernels.advance(x, change, past, table)
    assert torch.equal(x, given)
    exact = x if change is None else x + change
    assert torch.equal(total, exact)
    truth = module(exact[:, :, 0].double())
    assert out.dtype == kind
    assert torch.equal(out[..., :keep], before)
    assert torch.equal(past, out[..., length:])
    new = out[:, :, 0, keep:].double()
    step = truth.abs() * 2.0**-8 if half else truth.abs() * 2.0**-22  # half a unit in the last place; a few
    assert ((new - truth).abs() <= step + 4e-6).all()


@here
def test_inputs_in_half_precision_and_none_to_activate() -> None:
    x = channels_last(torch.randn(2, 6, 9).to(torch.bfloat16))
    past = channels_last(torch.zeros(2, 6, 2, dtype=torch.bfloat16))
    out, total = kernels.advance(x, None, past, kernels.tables(6, None, LEAKY_SLOPE))
    assert torch.equal(total, x)
    assert torch.equal(out[..., 2:], x)


@here
@pytest.mark.parametrize("size", [1e2, 1e3, 1e4, 1e5])
def test_the_sine_of_large_numbers(size: float) -> None:
    x = torch.empty(1, 2, 4000).uniform_(-size, size, generator=torch.Generator().manual_seed(1))
    table = kernels.tables(2, torch.tensor([1.0]), LEAKY_SLOPE)
    out, _ = kernels.advance(channels_last(x), None, channels_last(torch.zeros(1, 2, 0)), table)
    truth = x[0, 0].double() + x[0, 0].double().sin().square()
    assert (out[0, 0, 0] - truth).abs().max() <= size * 2.0**-23  # what fp32 can hold of the sum


@here
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_no_failure_becomes_a_number(value: float, kind: torch.dtype) -> None:
    x = torch.full((1, 4, 3), value)
    table = kernels.tables(4, torch.ones(2), LEAKY_SLOPE)
    out, _ = kernels.advance(channels_last(x), None, channels_last(torch.zeros(1, 4, 0, dtype=kind)), table)
    assert not out.isfinite().any()


@here
def test_torchs_defaults_are_the_users() -> None:
    model = seeded_model(tiny())
    codes = torch.arange(12).view(1, 2, 6)
    with torch.inference_mode():
        expected = model.decode(codes)
        torch.set_default_dtype(torch.float64)
        try:
            with torch.device("meta"):
                assert torch.equal(model.decode(codes), expected)
        finally:
            torch.set_default_dtype(torch.float32)


@here
def test_bf16_is_rounded_as_torch_rounds() -> None:
    bits = torch.randint(-(2**31), 2**31, (1, 2, 20000), generator=torch.Generator().manual_seed(2), dtype=torch.int64)
    x = bits.to(torch.int32).view(torch.float32)
    table = kernels.tables(2, None, LEAKY_SLOPE)
    out, _ = kernels.advance(channels_last(x), None, channels_last(torch.zeros(1, 2, 0, dtype=torch.bfloat16)), table)
    out, finite = out[:, :, 0], x.isfinite()
    assert torch.equal(out[finite], x.to(torch.bfloat16)[finite])
    assert out[x.isnan()].isnan().all()


@here
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 27, 432, 600]),
    frames=st.integers(1, 12),
    rate=st.integers(1, 8),
)
def test_upsample_is_the_transposed_convolution(batch: int, channels: int, frames: int, rate: int) -> None:
    torch.manual_seed(channels * rate + frames)
    x = torch.randn(batch, 2 * channels, 1 + frames)
    weight, bias = torch.randn(2 * channels, 1, 2 * rate), torch.randn(channels)
    ordered = weight.view(channels, 2, 2, rate).permute(2, 1, 3, 0).contiguous()
    out = kernels.upsample(channels_last(x), ordered, bias)[:, :, 0]
    truth = F.conv_transpose1d(x, weight, bias, stride=rate, groups=channels)[:, :, rate : (1 + frames) * rate]
    assert out.shape == truth.shape
    assert (out - truth).abs().max() <= 1e-5

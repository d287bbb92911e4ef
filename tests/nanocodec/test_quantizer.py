"""Group FSQ against arithmetic written a second time, number by number, in plain Python."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nanocodec.config import VARIANTS
from nanocodec.quantizer import GroupFiniteScalarQuantizer

LEVELS = sorted({config.levels for config in VARIANTS.values()})


def scalar_digit(x: float, levels: int) -> int:
    """Level of one latent value, counted from 0."""
    scale = (levels - 1) / 2 * (1 - 1e-3)
    offset = 0.5 if levels % 2 == 0 else 0.0
    y = scale * math.tanh(x + math.tan(offset / scale)) - offset
    return round(y) + levels // 2  # Python rounds half to even, as upstream does


def digits_of(index: int, levels: tuple[int, ...]) -> list[int]:
    digits = []
    for size in levels:
        index, digit = divmod(index, size)
        digits.append(digit)
    return digits


@settings(max_examples=60, deadline=None)
@given(levels=st.sampled_from(LEVELS), seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0.1, 0.9, 5.0]))
def test_indices_equal_scalar_arithmetic(levels: tuple[int, ...], seed: int, spread: float) -> None:
    groups = 3
    latent = np.random.default_rng(seed).normal(0, spread, (2, groups * len(levels), 4)).astype(np.float32)
    codes = GroupFiniteScalarQuantizer(levels, groups).encode(torch.from_numpy(latent))
    assert codes.dtype == torch.int32
    assert codes.shape == (2, groups, 4)
    for b, g, n in np.ndindex(2, groups, 4):
        values = latent[b, g * len(levels) : (g + 1) * len(levels), n]
        expected, base = 0, 1
        for x, size in zip(values, levels, strict=True):
            expected += scalar_digit(float(x), size) * base
            base *= size
        assert int(codes[b, g, n]) == expected


@settings(max_examples=60, deadline=None)
@given(levels=st.sampled_from(LEVELS), data=st.data())
def test_decode_inverts_the_index_arithmetic(levels: tuple[int, ...], data: st.DataObject) -> None:
    size = math.prod(levels)
    indices = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=8))
    quantizer = GroupFiniteScalarQuantizer(levels, 1)
    values = quantizer.decode(torch.tensor(indices, dtype=torch.int32)[None, None])[0]
    for n, index in enumerate(indices):
        expected = [
            (digit - size // 2) / (size // 2) for digit, size in zip(digits_of(index, levels), levels, strict=True)
        ]
        assert values[:, n].tolist() == pytest.approx(expected)
    assert values.min() >= -1
    assert values.max() <= 1


@settings(max_examples=40, deadline=None)
@given(levels=st.sampled_from(LEVELS), seed=st.integers(0, 2**32 - 1))
def test_codes_carry_all_that_the_quantizer_passes_on(levels: tuple[int, ...], seed: int) -> None:
    latent = torch.randn(2, 2 * len(levels), 5, generator=torch.Generator().manual_seed(seed))
    quantizer = GroupFiniteScalarQuantizer(levels, 2)
    torch.testing.assert_close(quantizer.decode(quantizer.encode(latent)), quantizer(latent))


def test_every_code_can_be_produced_and_survives() -> None:
    levels = (8, 7, 6, 6)
    quantizer = GroupFiniteScalarQuantizer(levels, 1)
    codes = torch.arange(2016, dtype=torch.int32)[None, None]
    half = torch.tensor([size // 2 for size in levels]).view(1, -1, 1)
    offset = torch.tensor([0.5 * (size % 2 == 0) for size in levels]).view(1, -1, 1)
    scale = torch.tensor([(size - 1) / 2 * 0.999 for size in levels]).view(1, -1, 1)
    target = quantizer.decode(codes) * half  # invert the squashing, kept off its asymptotes
    latent = torch.atanh(((target + offset) / scale).clamp(-0.9999, 0.9999)) - torch.tan(offset / scale)
    assert torch.equal(quantizer.encode(latent), codes)


def test_gradients_pass_straight_through_the_rounding() -> None:
    quantizer = GroupFiniteScalarQuantizer((8, 7, 6, 6), 2)
    latent = torch.randn(1, 8, 3, requires_grad=True)
    (through,) = torch.autograd.grad(quantizer(latent).sum(), latent)
    (smooth,) = torch.autograd.grad(quantizer.squash(latent).sum(), latent)
    torch.testing.assert_close(through, smooth)

"""The blocks of encoder and decoder against torch's own operations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from nanocodec.layers import (
    GroupedCausalUpsample,
    HalfSnake,
    fold_tensors,
    fold_weight_norm,
    has_weight_norm,
    pad_at_ends,
)


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["zeros", "replicate", "reflect"]),
    total=st.integers(5, 20),
    left=st.integers(0, 4),
    right=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_padding_at_an_items_own_end(mode: str, total: int, left: int, right: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 2, total, generator=generator)
    lengths = torch.tensor([total, 5, (total + 5) // 2])
    padded = pad_at_ends(x, left, right, mode, lengths)  # type: ignore[arg-type]
    torch_mode = "constant" if mode == "zeros" else mode
    for row, length in enumerate(lengths.tolist()):
        alone = F.pad(x[row : row + 1, :, :length], (left, right), mode=torch_mode)[0]
        torch.testing.assert_close(padded[row, :, : left + length + right], alone)


def test_reflection_of_what_is_shorter_than_the_padding() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert pad_at_ends(x, 5, 4, "reflect").tolist() == [[[2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3]]]
    assert pad_at_ends(x[..., :1], 2, 2, "reflect").tolist() == [[[1, 1, 1, 1, 1]]]


@torch.no_grad()
@pytest.mark.parametrize("rate", [2, 3, 7])
def test_upsampling_equals_the_grouped_transposed_convolution(rate: int) -> None:
    torch.manual_seed(0)
    layer = fold_weight_norm(GroupedCausalUpsample(6, rate))
    torch.nn.init.normal_(layer.conv.bias)
    x = torch.randn(2, 6, 5)
    torch.testing.assert_close(layer(x), layer.conv(x)[..., : 5 * rate], atol=1e-5, rtol=1e-5)


def test_half_snake_s_own_backward_equals_autograd_s() -> None:
    layer = HalfSnake(5).double()  # odd: 2 snakes, 3 leaky ReLUs
    torch.nn.init.uniform_(layer.snake_act.alpha, 0.3, 2.0)
    x = torch.randn(2, 5, 7, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: layer(a), (x, layer.snake_act.alpha))
    with torch.no_grad():
        plain = layer(x)
    torch.testing.assert_close(layer(x), plain)


def test_tensors_fold_as_the_module_does() -> None:
    torch.manual_seed(0)
    layer = GroupedCausalUpsample(6, 3)
    tensors = layer.state_dict()
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in tensors.items()
    }
    assert has_weight_norm(layer)
    folded = fold_weight_norm(layer).state_dict()
    assert not has_weight_norm(layer)
    for spelling in (tensors, older):
        made = fold_tensors(spelling)
        assert made.keys() == folded.keys()
        assert all(torch.equal(made[name], folded[name]) for name in folded)


@pytest.mark.parametrize(("layer", "dim"), [(nn.Conv1d(4, 6, 3), 2), (nn.Linear(4, 6), 0), (nn.Conv2d(2, 3, 5), 1)])
def test_any_dimension_of_a_weight_may_have_the_magnitude(layer: nn.Module, dim: int) -> None:
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(layer, dim=dim))
    tensors = normed.state_dict()
    tensors["0.parametrizations.weight.original0"] *= 1.5
    torch.testing.assert_close(fold_tensors(tensors, dim)["0.weight"], normed[0].weight, atol=0, rtol=1e-6)


def test_what_is_no_pair_stays_as_it_is() -> None:
    odd = {
        "a.weight_g": torch.ones(3, 1, 1),
        "b.weight_v": torch.ones(3, 2, 5),
        "c.weight_g": torch.ones(2, 1, 1),
        "c.weight_v": torch.ones(3, 2, 5),
        "d.half": torch.ones(2, dtype=torch.float16),
        "d.count": torch.ones(2, dtype=torch.int64),
    }
    made = fold_tensors(odd)
    assert made.keys() == odd.keys()
    assert made["d.half"].dtype == torch.float32
    assert made["d.count"].dtype == torch.int64

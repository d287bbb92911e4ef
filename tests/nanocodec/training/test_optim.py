"""Muon's orthogonalization and its Adam half."""

import pytest
import torch

from nanocodec.training.optim import MuonAdam, orthogonalize


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 20), (1, 20, 6)])
def test_orthogonalize_brings_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.max() < 1.4
    assert values[:, :-1].min() > 0.3


@pytest.mark.parametrize("shape", [(2, 6, 20), (1, 20, 6)])
def test_orthogonalize_equals_the_iteration_on_whole_matrices(shape: tuple[int, int, int]) -> None:
    """Muon's published form: X <- aX + (bA + cA^2)X with A = XX^T, here in float64."""
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * torch.logspace(0, -3, shape[2])
    x = matrices.double() / matrices.double().flatten(1).norm(dim=1)[:, None, None]
    for _ in range(5):
        outer = x @ x.mT
        x = 3.4445 * x + (-4.7750 * outer + 2.0315 * outer @ outer) @ x
    torch.testing.assert_close(orthogonalize(matrices).double(), x, atol=2e-5, rtol=0)


def test_the_adam_half_equals_torch_s() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(5).requires_grad_(), torch.zeros(5).requires_grad_()
    theirs.data.copy_(ours.data)
    one = MuonAdam([], [ours], lr=0.1, betas=(0.9, 0.99))
    two = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99))
    for step in range(5):
        for parameter, optimizer in ((ours, one), (theirs, two)):
            parameter.grad = (parameter.detach() - step) ** 3
            optimizer.step()
    torch.testing.assert_close(ours, theirs)

"""Muon for the convolutions' matrices, Adam for everything else.

Muon (Jordan et al. 2024) orthogonalises the momentum of each matrix, so that every direction of a layer learns at
one pace; the update is scaled so that its RMS equals Adam's (Liu et al. 2025, arXiv:2502.16982) and both share one
learning rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from nanocodec.training.config import TrainConfig


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices [..., m, n], by a quintic Newton-Schulz iteration.

    Every iterate is a square matrix times the given one, so only the square ones, as small as the shorter side, are
    iterated: for kernels of 7 less than half of the time.

    Args:
        matrices: float [..., m, n].
        steps: of the iteration; the singular values come near 1, not to it.

    Returns:
        float [..., m, n].
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)

    def polynomial(gram: Tensor) -> Tensor:
        return a * identity + b * gram + c * gram @ gram

    total = factor = polynomial(gram)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = polynomial(gram)
        total = factor @ total
    x = total @ x
    return x.mT if tall else x


class MuonAdam(torch.optim.Optimizer):
    """One optimizer, two rules.

    Args:
        matrices: parameters that follow Muon; all dimensions but the first are taken together.
        others: parameters that follow Adam.
        lr: of both groups.
        betas: Adam's.
        momentum: Muon's.
        weight_decay: Muon's, decoupled from the gradient.
        eps: Adam's.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ):
        groups = [{"params": list(matrices), "muon": True}, {"params": list(others), "muon": False}]
        groups = [group for group in groups if group["params"]]
        defaults = {"lr": lr, "betas": betas, "momentum": momentum, "weight_decay": weight_decay, "eps": eps}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            pairs = [(p, p.grad) for p in group["params"] if p.grad is not None]
            (self._muon if group["muon"] else self._adam)(group, pairs)

    def _muon(self, group: dict[str, Any], pairs: list[tuple[Tensor, Tensor]]) -> None:
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        parameters, gradients = [p for p, _ in pairs], [gradient for _, gradient in pairs]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        for p, update in zip(parameters, nesterov, strict=True):
            by_shape[len(p), p.numel() // len(p)].append((p, update))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        for (rows, columns), alike in by_shape.items():
            updates = orthogonalize(torch.stack([u.reshape(rows, columns) for _, u in alike]))
            scale = 0.2 * max(rows, columns) ** 0.5
            shaped = [u.reshape(p.shape) for (p, _), u in zip(alike, updates, strict=True)]
            torch._foreach_add_([p for p, _ in alike], shaped, alpha=-group["lr"] * scale)

    def _adam(self, group: dict[str, Any], pairs: list[tuple[Tensor, Tensor]]) -> None:
        beta1, beta2 = group["betas"]
        parameters, gradients = [p for p, _ in pairs], [gradient for _, gradient in pairs]
        for p in parameters:
            if not self.state[p]:
                self.state[p].update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
            self.state[p]["step"] += 1
        states = [self.state[p] for p in parameters]
        means, squares = [state["mean"] for state in states], [state["square"] for state in states]
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - beta2)
        deviations = torch._foreach_div(squares, [1 - beta2 ** state["step"] for state in states])
        torch._foreach_sqrt_(deviations)
        torch._foreach_add_(deviations, group["eps"])
        rates = [-group["lr"] / (1 - beta1 ** state["step"]) for state in states]
        torch._foreach_addcdiv_(parameters, means, deviations, rates)


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that `config` names, over the parameters of a `TrainingModel`."""
    parameters = dict(model.named_parameters())
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters.values(), config.lr, config.betas, weight_decay=config.weight_decay)
    matrices = {
        name
        for name, p in parameters.items()
        if name.startswith("codec.") and name.endswith("conv.weight") and "up_sample" not in name
        if min(p.shape[:2]) > 1
    }
    return MuonAdam(
        [p for name, p in parameters.items() if name in matrices],
        [p for name, p in parameters.items() if name not in matrices],
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float, adam_scale: float) -> None:
    """Give the optimizer a learning rate; where it follows both rules, Adam's is `adam_scale` times that of Muon."""
    for group in optimizer.param_groups:
        group["lr"] = lr if group.get("muon", True) else lr * adam_scale

"""EfficientNetV2, as TensorFlow's weights have it in timm: images to feature maps.

Tan and Le 2021 (arXiv 2104.00298). The names of weights are timm's, and what a state dict says of a network's shape is
read from it: kinds and widths of blocks, their number, kernels. What it cannot say are the strides.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from evalkit.errors import MissingError
from evalkit.metrics.networks.states import State, count, filled

STRIDES = (1, 2, 2, 2, 1, 2)
"""Of the first block of each stage, in EfficientNetV2-S."""


class EfficientNetV2(nn.Module):
    """Images [B, 3, H, W] to feature maps [B, D, H / 32, W / 32], rounded up.

    Args:
        state: Weights as timm names them, without those of the classifier: they say every width.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        self.conv_stem = _convolution(state, "conv_stem", 2)
        self.bn1 = _norm(state, "bn1")
        stages = []
        for stage in range(count(state, r"blocks\.(\d+)\.")):
            number = count(state, rf"blocks\.{stage}\.(\d+)\.")
            strides = [STRIDES[stage]] + [1] * (number - 1)
            stages.append(
                nn.Sequential(*(_block(state, f"blocks.{stage}.{i}", stride) for i, stride in enumerate(strides)))
            )
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _convolution(state, "conv_head")
        self.bn2 = _norm(state, "bn2")

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "EfficientNetV2":
        """The network with the weights, and the shape, of a state dict.

        Raises:
            MissingError: They are the weights of something else.
        """
        try:
            network = cls(dict(state))
        except (KeyError, IndexError) as error:
            raise MissingError(f"these weights are not those of EfficientNetV2: {error} is missing") from error
        return filled(network, state, "EfficientNetV2")

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps [B, D, H, W] of `images`."""
        x = F.silu(self.bn1(self.conv_stem(images)))
        return F.silu(self.bn2(self.conv_head(self.blocks(x))))


class Same(nn.Conv2d):
    """A convolution whose output is 1 / stride as large, rounded up: padded as in TensorFlow, more at the ends."""

    def forward(self, x: Tensor) -> Tensor:
        sides = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [padding // 2, padding - padding // 2]
        return self._conv_forward(F.pad(x, sides), self.weight, self.bias)


class Block(nn.Module):
    """A chain of convolutions, each normalised, added to what came in where that has the same shape.

    The first block of a stage may narrow the image by its `stride`. `names` are those of the convolutions and of their
    norms; the last one has no activation unless it is the only one.
    """

    def __init__(self, state: State, place: str, names: tuple[tuple[str, str], ...], stride: int) -> None:
        super().__init__()
        self.names = names
        strided = "conv_dw" if ("conv_dw", "bn2") in names else names[0][0]
        for convolution, norm in names:
            step = stride if convolution == strided else 1
            self.add_module(convolution, _convolution(state, f"{place}.{convolution}", step))
            self.add_module(norm, _norm(state, f"{place}.{norm}"))
        if f"{place}.se.conv_reduce.weight" in state:
            self.se = Squeeze(state, f"{place}.se")
        first, last = self.get_submodule(names[0][0]), self.get_submodule(names[-1][0])
        self.adds = stride == 1 and first.in_channels == last.out_channels

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for convolution, norm in self.names:
            if convolution == "conv_pwl" and hasattr(self, "se"):
                found = self.se(found)
            found = self.get_submodule(norm)(self.get_submodule(convolution)(found))
            if convolution != "conv_pwl":
                found = F.silu(found)
        return x + found if self.adds else found


class Squeeze(nn.Module):
    """Channels weighted by what their means over the image say (squeeze and excitation)."""

    def __init__(self, state: State, place: str) -> None:
        super().__init__()
        self.conv_reduce = _convolution(state, f"{place}.conv_reduce")
        self.conv_expand = _convolution(state, f"{place}.conv_expand")

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3), keepdim=True)
        return x * self.conv_expand(F.silu(self.conv_reduce(means))).sigmoid()


KINDS = (
    (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    (("conv_exp", "bn1"), ("conv_pwl", "bn2")),
    (("conv", "bn1"),),
)
"""Inverted residual block, fused inverted residual block, and plain convolution, by the names in a state dict."""


def _block(state: State, place: str, stride: int) -> Block:
    names = next(names for names in KINDS if names[-1] == KINDS[-1][-1] or f"{place}.{names[0][0]}.weight" in state)
    return Block(state, place, names, stride)


def _convolution(state: State, name: str, stride: int = 1) -> Same:
    outputs, inputs, height, width = state[f"{name}.weight"].shape
    groups = outputs if name.endswith("conv_dw") else 1
    return Same(
        inputs * groups, outputs, (height, width), stride, groups=groups, bias=f"{name}.bias" in state
    )  # fmt: skip


def _norm(state: State, name: str) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(len(state[f"{name}.weight"]), eps=1e-3)

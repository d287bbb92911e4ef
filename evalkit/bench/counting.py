"""Parameters and multiply-accumulates of a codec's network, counted without weights and without arithmetic.

The network is copied to torch's meta device and run there once each way, on whole frames nearest to SECONDS of audio
(the ends of receptive fields weigh in below two). `FlopCounterMode` counts convolutions, matrix products and attention
as they are called, half a MAC a FLOP; what else there is (activations, FFTs, noise) counts nothing. It counts a
processor's fused kernels, other threads and streams wrongly or not at all, hence the meta device. Hooks on the layers
count the same again from their shapes: where they say more than the counter, there is no number.

A parameter is used where its tensor is touched. Weight normalisation counts as folded: its magnitudes do not count.
Codebooks count whether they are parameters or buffers.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from evalkit.codecs import Codec, Inspectable

SECONDS = 10.0
TOLERANCE = 1e-3
"""By which the hooks may exceed the counter, relative."""
MAGNITUDES = ("weight_g", "original0")
"""Of weight normalisation, as torch names them."""


class CountError(Exception):
    """There is no number; the text is the reason."""


@dataclass(frozen=True)
class Count:
    """Of one way through a codec."""

    gmac: float
    """10^9 multiply-accumulates a second of audio."""
    parameters: frozenset[str]
    """Names of the tensors that are used."""


@dataclass(frozen=True)
class Counts:
    """Of a codec; `sizes` says how many numbers each named tensor holds."""

    encode: Count
    decode: Count
    sizes: dict[str, int]

    def parameters(self, *stages: Count) -> int:
        """Numbers that any of `stages` uses."""
        used = frozenset[str]().union(*(stage.parameters for stage in stages))
        return sum(self.sizes[name] for name in used)


def count(codec: Codec, seconds: float = SECONDS) -> Counts:
    """Count both ways through a codec.

    Args:
        codec: One that shows its network (`Inspectable`).
        seconds: Of audio that it is run on, in whole frames.

    Returns:
        GMAC a second of audio, and the tensors that are used, each way.

    Raises:
        CountError: It shows no network, the network does not run on the meta device, or the two counts differ.
    """
    if not isinstance(codec, Inspectable) or not codec.sample_rate or not codec.frame_rate:
        raise CountError("it exposes no network to count")
    twin = on_meta(codec)
    network = twin.network()
    named = dict(learned(network.module))
    frames = round(seconds * codec.frame_rate)
    samples = round(frames * codec.sample_rate / codec.frame_rate)
    audio = torch.zeros(1, samples, device="meta")
    tokens = torch.zeros(1, len(codec.codebook_sizes), frames, dtype=torch.int64, device="meta")
    duration = samples / codec.sample_rate
    return Counts(
        _count(network.module, lambda: network.encode(audio), named, duration),
        _count(network.module, lambda: network.decode(tokens), named, duration),
        {name: tensor.numel() for name, tensor in named.items()},
    )


def on_meta(codec: Any) -> Any:
    """A copy of `codec` whose floating-point tensors have shapes and no numbers. Integers stay: layers keep paddings in
    them, and read them."""
    memo: dict[int, Any] = {}
    for module in codec.network().module.modules():
        plain = (value for value in vars(module).values() if isinstance(value, Tensor))  # a cache that upstream keeps
        for tensor in (*module.parameters(False), *module.buffers(False), *plain):
            if tensor.is_floating_point():
                ghost = torch.empty_like(tensor, device="meta", requires_grad=False)
                memo[id(tensor)] = nn.Parameter(ghost, False) if isinstance(tensor, nn.Parameter) else ghost
    twin = copy.deepcopy(codec, memo)
    for module in twin.network().module.modules():
        if isinstance(module, nn.LSTM):
            _unroll(module)
    return twin


def learned(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and codebooks of `module` by name; of weight normalisation the direction alone."""
    for prefix, child in module.named_modules():
        held = [*child.named_parameters(recurse=False), *child.named_buffers(recurse=False)]
        held += [(name, value) for name, value in vars(child).items() if isinstance(value, Tensor)]
        for name, tensor in held:
            table = tensor.is_floating_point() and tensor.dim() > 1  # windows and statistics have one dimension
            if name not in MAGNITUDES and (isinstance(tensor, nn.Parameter) or table):
                yield f"{prefix}.{name}", tensor


class _Touched(TorchDispatchMode):
    """Remembers which tensors any operation was given. Where the network asks whether something holds, which no number
    can tell here, the answer is yes: transformers asks whether all of a batch is one sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in torch.utils._pytree.tree_leaves((args, kwargs or {})):
            if isinstance(tensor, Tensor):
                self.seen.add(tensor.untyped_storage()._cdata)
                if func is torch.ops.aten._local_scalar_dense.default and tensor.is_meta and tensor.dtype == torch.bool:
                    return True
        return func(*args, **(kwargs or {}))


def _distances(a: Any, b: Any, *rest: Any, **more: Any) -> int:
    """FLOPs of every distance between rows [..., P, M] and [..., R, M], a MAC a number."""
    return int(2 * prod(a) * b[-2])


SEARCHES: Any = {torch.ops.aten._cdist_forward: _distances, torch.ops.aten._euclidean_dist: _distances}
"""How some codebooks are searched; FlopCounterMode does not know them."""


def _count(module: nn.Module, run: Callable[[], object], named: dict[str, Tensor], duration: float) -> Count:
    counter = FlopCounterMode(display=False, custom_mapping=SEARCHES)
    with hooked(module) as hooks, torch.no_grad(), counter, _Touched() as touched:
        try:
            run()
        except Exception as error:  # whatever a network does that has no meaning without numbers
            raise CountError(f"its network does not run on the meta device: {error}") from error
    counted = counter.get_total_flops() / 2
    if hooks.total > counted * (1 + TOLERANCE):
        raise CountError(f"two counts differ: {counted:.6g} MACs by FlopCounterMode, {hooks.total:.6g} by its layers")
    used = {name for name, tensor in named.items() if tensor.untyped_storage()._cdata in touched.seen}
    return Count(counted / duration / 1e9, frozenset(used))


@dataclass
class Hooks:
    """MACs by the shapes of layers."""

    total: float = 0.0


@contextmanager
def hooked(module: nn.Module) -> Iterator[Hooks]:
    """Count what the convolutions, linear and LSTM layers of `module` multiply while the block runs: the cross-check.
    Products outside of such layers, such as attention, are not among it."""
    hooks = Hooks()

    def add(layer: nn.Module, given: tuple[Tensor, ...], made: Any) -> None:
        hooks.total += layer_macs(layer, given[0], made)

    handles = [layer.register_forward_hook(add) for layer in module.modules() if not list(layer.children())]
    handles += [
        layer.register_forward_hook(add)
        for layer in module.modules()
        if list(layer.children()) and hasattr(layer, "parametrizations")  # weight-normed
    ]
    try:
        yield hooks
    finally:
        for handle in handles:
            handle.remove()


def layer_macs(layer: nn.Module, given: Tensor, made: Any) -> int:
    """Multiply-accumulates of one layer, from its shapes.

    Args:
        layer: A convolution, a linear or an LSTM layer; others multiply nothing.
        given: What went in.
        made: What came out.

    Returns:
        0 or more.

    Raises:
        CountError: An LSTM of a kind that is not counted.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return made.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size)
    if isinstance(layer, nn.ConvTranspose1d):
        return given.numel() * layer.out_channels // layer.groups * prod(layer.kernel_size)
    if isinstance(layer, nn.Linear):
        return made.numel() * layer.in_features
    if isinstance(layer, nn.LSTM):
        steps = given.numel() // layer.input_size * (1 + layer.bidirectional)
        return steps * sum(4 * layer.hidden_size * (width + layer.hidden_size) for width in _widths(layer))
    return 0


def _widths(layer: nn.LSTM) -> list[int]:
    """What goes into each layer of an LSTM."""
    if layer.proj_size:
        raise CountError("an LSTM with projections cannot be counted")
    return [layer.input_size, *[layer.hidden_size * (1 + layer.bidirectional)] * (layer.num_layers - 1)]


def _unroll(layer: nn.LSTM) -> None:
    """Let an LSTM on the meta device do the products of all its steps at once: as many, and in a thousandth of the
    time that it takes torch to go through them."""

    def forward(x: Tensor, state: object = None) -> tuple[Tensor, None]:
        for place in range(layer.num_layers):
            x = torch.cat([one_way(x, f"l{place}{way}") for way in ("", "_reverse")[: 1 + layer.bidirectional]], -1)
        return x, None

    def one_way(x: Tensor, where: str) -> Tensor:
        for which in ("ih", "hh"):
            weight, bias = getattr(layer, f"weight_{which}_{where}"), getattr(layer, f"bias_{which}_{where}", None)
            x = nn.functional.linear(x, weight, bias)[..., : layer.hidden_size]
        return x

    layer.forward = forward  # type: ignore[method-assign, assignment]

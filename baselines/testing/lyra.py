"""Lyra with seeded weights, in the form of the published TensorFlow Lite files.

The files hold what lyra.py reads, the operators with their constants, and lack what only running them needs.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from evalkit.environment.extras import load

from ..lyra import DECODER, ENCODER, QUANTIZER, SQUARED_DIFFERENCE
from ..lyra_model import ENTRIES, Lyra
from ..tflite import CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV
from . import seeded

Constants = Mapping[int, tuple[NDArray[Any], NDArray[np.float32] | None]]
"""By place among an operator's inputs: values, and the scales of integers."""


def write(folder: Path, rate: str) -> None:
    """The three files: networks of the published widths, which are narrow."""
    model = seeded_model()
    books: list[tuple[int, Constants]] = [(SQUARED_DIFFERENCE, {1: (book[None].numpy(), None)}) for book in model.books]
    files = {
        ENCODER: [list(operators(model.encoder))],
        DECODER: [list(operators(model.decoder))],
        QUANTIZER: [[], books],
    }
    for name, graphs in files.items():
        (folder / name).write_bytes(tflite(graphs))


def seeded_model() -> Lyra:
    """The networks whose weights `write` writes; wide ones hold numbers that 8 bits and a scale can say."""
    model = Lyra().eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            numbers = seeded(f"lyra {name}", tuple(tensor.shape), 0)
            if tensor.dim() == 1:
                tensor.copy_(0.1 * numbers)
                continue
            tensor.copy_(1.5 * numbers / tensor[0].numel() ** 0.5)
            if tensor.shape[0] >= 256:
                scale = tensor.abs().amax(_rest(tensor), keepdim=True) / 127
                tensor.copy_((tensor / scale).round() * scale)
        # What is decoded stays within full scale, where a change can be seen.
        model.decoder[-1].get_parameter("weight").mul_(4e-5)
        spread = 1.0
        for number, book in enumerate(model.books):
            book.copy_(spread * seeded(f"lyra book {number}", (ENTRIES, book.shape[1]), 0))
            spread *= 0.93
    return model


def _rest(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(range(1, tensor.dim()))


def operators(network: nn.Module) -> Iterator[tuple[int, Constants]]:
    """The convolutions of `network` as TensorFlow Lite has them; those of many channels as 8-bit integers."""
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose1d):
            assert layer.bias is not None
            for weight, bias in zip(layer.weight.chunk(layer.groups), layer.bias.chunk(layer.groups), strict=True):
                plain = weight.detach().permute(1, 2, 0)[:, :, None].numpy()
                yield TRANSPOSE_CONV, {1: (plain, None), 3: (bias.detach().numpy(), None)}
        elif isinstance(layer, nn.Conv1d):
            weight = layer.weight.detach()
            scales = (weight.abs().amax((1, 2)) / 127).numpy() if len(weight) >= 256 else None
            if layer.bias is None:  # depthwise
                plain = weight.permute(1, 2, 0)[:, :, None].numpy()
                yield DEPTHWISE_CONV_2D, {1: (_integers(plain, scales, 3), scales), 2: _zeros(len(weight))}
            else:
                plain = weight.permute(0, 2, 1)[:, :, None].numpy()
                yield CONV_2D, {1: (_integers(plain, scales, 0), scales), 2: (layer.bias.detach().numpy(), None)}


def _zeros(count: int) -> tuple[NDArray[np.float32], None]:
    return np.zeros(count, np.float32), None


def _integers(weight: NDArray[np.float32], scales: NDArray[np.float32] | None, axis: int) -> NDArray[Any]:
    if scales is None:
        return weight
    return np.round(weight / np.expand_dims(scales, [i for i in range(4) if i != axis])).astype(np.int8)


def tflite(graphs: Sequence[Sequence[tuple[int, Constants]]]) -> bytes:
    """A file with the operators of `graphs`, by the package flatbuffers."""
    build = load("flatbuffers", "dev").Builder(0)
    codes = list(dict.fromkeys(code for graph in graphs for code, _ in graph))
    buffers = [_table(build, {})]
    subgraphs = []
    for graph in graphs:
        tensors: list[int] = []
        tables: list[int] = []
        for code, constants in graph:
            inputs = np.full(max(constants) + 1, -1, np.int32)
            for place, (values, scales) in constants.items():
                inputs[place] = len(tensors)
                tensors.append(_tensor(build, values, scales, len(buffers)))
                buffers.append(_table(build, {0: build.CreateByteVector(np.ascontiguousarray(values).tobytes())}))
            fields = {1: build.CreateNumpyVector(inputs)}
            tables.append(_table(build, fields, uint32={0: codes.index(code)}))
        subgraphs.append(_table(build, {0: _tables(build, tensors), 3: _tables(build, tables)}))
    known = [_table(build, {}, int8={0: min(code, 127)}, int32={3: code}) for code in codes]
    fields = {1: _tables(build, known), 2: _tables(build, subgraphs), 4: _tables(build, buffers)}
    build.Finish(_table(build, fields, uint32={0: 3}), b"TFL3")
    return bytes(build.Output())


def _tensor(build: Any, values: NDArray[Any], scales: NDArray[np.float32] | None, buffer: int) -> int:
    fields = {0: build.CreateNumpyVector(np.array(values.shape, np.int32))}
    if scales is not None:
        axis = 0 if values.shape[0] == len(scales) else 3
        zero = build.CreateNumpyVector(np.zeros(len(scales), np.int64))
        fields[4] = _table(build, {2: build.CreateNumpyVector(scales), 3: zero}, int32={6: axis})
    return _table(build, fields, int8={1: 0 if scales is None else 9}, uint32={2: buffer})


def _table(
    build: Any,
    offsets: Mapping[int, int],
    int8: Mapping[int, int] | None = None,
    int32: Mapping[int, int] | None = None,
    uint32: Mapping[int, int] | None = None,
) -> int:
    """A table with the given fields, by number."""
    build.StartObject(8)
    for field, offset in offsets.items():
        build.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, value in (int8 or {}).items():
        build.PrependInt8Slot(field, value, 0)
    for field, value in (int32 or {}).items():
        build.PrependInt32Slot(field, value, 0)
    for field, value in (uint32 or {}).items():
        build.PrependUint32Slot(field, value, 0)
    return int(build.EndObject())


def _tables(build: Any, offsets: Sequence[int]) -> int:
    build.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        build.PrependUOffsetTRelative(offset)
    return int(build.EndVector())

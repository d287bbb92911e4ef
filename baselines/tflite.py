"""Reading what a TensorFlow Lite file holds, without TensorFlow: its operators, in order, and their constants.

A `.tflite` file is a FlatBuffer, whose tables are found by offsets; what is read here are the few fields of its schema
(tensorflow/compiler/mlir/lite/schema/schema.fbs) that say what weights an operator has. Nothing is executed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV = 3, 4, 67
"""Of the schema's BuiltinOperator."""
TYPES = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 6: np.bool_, 7: np.int16, 9: np.int8}
"""Of the schema's TensorType, those with a fixed size."""


@dataclass(frozen=True)
class Operator:
    """One operator: its code, and the constants among its inputs, by their place."""

    code: int
    constants: dict[int, NDArray[Any]]
    """Integers with a scale come as float32: (value - zero point) * scale."""


def read(path: Path) -> list[list[Operator]]:
    """The operators of each subgraph, in the order in which they are computed.

    Raises:
        ValueError: the file is not a TensorFlow Lite model.
    """
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path} is not a TensorFlow Lite model")
    try:
        return _operators(_Table(data, _uint(data, 0)))
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error


def _operators(model: "_Table") -> list[list[Operator]]:
    # An operator's code outgrew its first field, of one byte; what fits stands in both.
    codes = [max(code.int8(0), code.int32(3)) for code in model.tables(1)]
    buffers = model.tables(4)
    graphs = []
    for graph in model.tables(2):
        tensors = graph.tables(0)
        known: dict[int, NDArray[Any] | None] = {}

        def constant(
            index: int, tensors: "list[_Table]" = tensors, known: dict[int, NDArray[Any] | None] = known
        ) -> NDArray[Any] | None:
            if index not in known:
                known[index] = _constant(tensors[index], buffers)
            return known[index]

        graphs.append([_operator(table, codes, constant) for table in graph.tables(3)])
    return graphs


def _operator(table: "_Table", codes: list[int], constant: Callable[[int], NDArray[Any] | None]) -> Operator:
    found = {place: constant(int(index)) for place, index in enumerate(table.vector(1, np.int32)) if index >= 0}
    return Operator(codes[table.uint32(0)], {place: values for place, values in found.items() if values is not None})


def _constant(tensor: "_Table", buffers: "list[_Table]") -> NDArray[Any] | None:
    data = buffers[tensor.uint32(2)].vector(0, np.uint8)
    kind = TYPES.get(tensor.int8(1))
    if not len(data) or kind is None:
        return None
    values: NDArray[Any] = data.view(kind).reshape(tensor.vector(0, np.int32))
    if (how := tensor.table(4)) is None or not len(scale := how.vector(2, np.float32)):
        return values
    axes = [1] * values.ndim
    if len(scale) > 1:  # one for each entry of an axis
        axes[how.int32(6)] = -1
    zero = how.vector(3, np.int64)
    shifted = values.astype(np.int64) - (zero.reshape(axes) if len(zero) == len(scale) else 0)
    return (shifted * scale.reshape(axes).astype(np.float64)).astype(np.float32)


class _Table:
    """A table of a FlatBuffer: fields by their number in the schema, with a default where one is left out."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start
        self._fields = start - _int(data, start)

    def _at(self, field: int) -> int:
        """Where the field lies; 0 where it was left out."""
        place = 4 + 2 * field
        if place >= int(_number(self._data, self._fields, np.uint16)):
            return 0
        offset = int(_number(self._data, self._fields + place, np.uint16))
        return self._start + offset if offset else 0

    def int8(self, field: int) -> int:
        return int(_number(self._data, at, np.int8)) if (at := self._at(field)) else 0

    def int32(self, field: int) -> int:
        return _int(self._data, at) if (at := self._at(field)) else 0

    def uint32(self, field: int) -> int:
        return _uint(self._data, at) if (at := self._at(field)) else 0

    def table(self, field: int) -> "_Table | None":
        return _Table(self._data, at + _uint(self._data, at)) if (at := self._at(field)) else None

    def vector(self, field: int, kind: Any) -> NDArray[Any]:
        if not (at := self._at(field)):
            return np.zeros(0, kind)
        at += _uint(self._data, at)
        count = _uint(self._data, at)
        if at + 4 + count * np.dtype(kind).itemsize > len(self._data):
            raise IndexError(f"a vector of {count} at byte {at} ends beyond the file")
        return np.frombuffer(self._data, kind, count, at + 4)

    def tables(self, field: int) -> "list[_Table]":
        if not (at := self._at(field)):
            return []
        at += _uint(self._data, at) + 4
        offsets = self.vector(field, np.uint32)
        return [_Table(self._data, at + 4 * i + int(offset)) for i, offset in enumerate(offsets)]


def _number(data: bytes, at: int, kind: Any) -> Any:
    if not 0 <= at <= len(data) - np.dtype(kind).itemsize:
        raise IndexError(f"byte {at} of {len(data)}")
    return np.frombuffer(data, kind, 1, at)[0]


def _int(data: bytes, at: int) -> int:
    return int(_number(data, at, np.int32))


def _uint(data: bytes, at: int) -> int:
    return int(_number(data, at, np.uint32))

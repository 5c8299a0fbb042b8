"""Names and dimensions of an ONNX model's inputs, without the onnx package: its file is protobuf, read by hand.

ModelProto.graph = 7; GraphProto.initializer = 5, .input = 11; TensorProto.name = 8; ValueInfoProto.name = 1,
.type = 2; TypeProto.tensor_type = 1; Tensor.shape = 2; TensorShapeProto.dim = 1; Dimension.dim_value = 1.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple, Union

Value = Union[int, memoryview]


class BadModel(ValueError):
    """Not an ONNX model, or one cut short."""


def read(path: Path) -> Dict[str, List[Optional[int]]]:
    """Input -> its dimensions, None for one that is free. Weights that are listed as inputs are left out."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                return _graph(view)
            finally:
                view.release()
    except (ValueError, IndexError) as error:
        raise BadModel(f"{path} is not an ONNX model: {error}") from error


def _graph(model: memoryview) -> Dict[str, List[Optional[int]]]:
    graphs = [value for number, value in _fields(model) if number == 7 and isinstance(value, memoryview)]
    if not graphs:
        raise ValueError("it has no graph")
    weights, inputs = set(), {}
    for number, value in _fields(graphs[0]):
        if not isinstance(value, memoryview):
            continue
        if number == 5:
            weights.add(_text(value, 8))
        elif number == 11:
            inputs[_text(value, 1)] = _dims(value)
    found = {name: dims for name, dims in inputs.items() if name not in weights}
    if not found:
        raise ValueError("it has no inputs")
    return found


def _dims(info: memoryview) -> List[Optional[int]]:
    at = info
    for number in (2, 1, 2):  # type, tensor_type, shape
        inner = _one(at, number)
        if inner is None:
            return []
        at = inner
    sizes: List[Optional[int]] = []
    for number, dimension in _fields(at):
        if number == 1 and isinstance(dimension, memoryview):
            values = [value for field, value in _fields(dimension) if field == 1 and isinstance(value, int)]
            sizes.append(values[0] if values and values[0] > 0 else None)
    return sizes


def _one(message: memoryview, wanted: int) -> Optional[memoryview]:
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            return value
    return None


def _text(message: memoryview, wanted: int) -> str:
    value = _one(message, wanted)
    return bytes(value).decode() if value is not None else ""


def _fields(message: memoryview) -> Iterator[Tuple[int, Value]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
        elif kind == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("it is cut short")
            yield number, message[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"field {number} has wire type {kind}")


def _varint(message: memoryview, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number does not end")

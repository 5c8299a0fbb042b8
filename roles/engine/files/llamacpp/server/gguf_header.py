"""The metadata of a GGUF file, read without loading a tensor and without numpy.

Long arrays (the vocabulary) are skipped, so that a model with 128k tokens costs tenths of a second.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Dict, Tuple, Union

Value = Union[int, float, bool, str, Tuple[Union[int, float, bool], ...]]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST = 4096  # elements: per-layer lists are kept, vocabularies are not


class BadHeader(ValueError):
    """The file is not GGUF, or ends inside its own header."""


def read(path: Path) -> Dict[str, Value]:
    """All scalars, strings and short numeric arrays. Raises BadHeader."""
    found: Dict[str, Value] = {}
    with path.open("rb") as file:
        magic, version, _tensors, pairs = struct.unpack("<4sIQQ", _take(file, 24))
        if magic != b"GGUF" or version not in (2, 3):
            raise BadHeader(f"{path}: not a GGUF file of version 2 or 3")
        for _ in range(pairs):
            key = _string(file)
            value = _value(file, _number(file, "I"))
            if value is not None:
                found[key] = value
    return found


def _value(file: BinaryIO, kind: int) -> Value | None:
    if kind in _SCALARS:
        return _number(file, _SCALARS[kind])
    if kind == _STRING:
        return _string(file)
    if kind != _ARRAY:
        raise BadHeader(f"{file.name}: unknown value type {kind}")
    element, length = _number(file, "I"), _number(file, "Q")
    if element == _STRING:
        for _ in range(length):
            file.seek(_number(file, "Q"), 1)
        return None
    if element not in _SCALARS:
        raise BadHeader(f"{file.name}: unknown array of type {element}")
    code = _SCALARS[element]
    if length > _LONGEST:
        file.seek(length * struct.calcsize(code), 1)
        return None
    return struct.unpack(f"<{length}{code}", _take(file, length * struct.calcsize(code)))


def _number(file: BinaryIO, code: str) -> int:
    number: int = struct.unpack("<" + code, _take(file, struct.calcsize(code)))[0]
    return number


def _string(file: BinaryIO) -> str:
    return _take(file, _number(file, "Q")).decode("utf-8", "replace")


def _take(file: BinaryIO, count: int) -> bytes:
    data = file.read(count) if count <= 64 << 20 else b""
    if len(data) != count:
        raise BadHeader(f"{file.name}: ends inside its header")
    return data

"""The header of a safetensors file, read by us before any framework sees the file.

Layout: 8 bytes little-endian N, N bytes of JSON, then the tensors without a hole, to the file's last byte.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List, Tuple

MAX_HEADER = 100_000_000
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64,
    "F64": 64, "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class HeaderError(ValueError):
    """What is wrong with the header, in words that follow 'got'."""


def header_length(first: bytes, size: int) -> int:
    """N from the first 8 bytes of a file of ``size`` bytes."""
    if len(first) < 8:
        raise HeaderError(f"a file of {size} bytes, too short for a header")
    length = int(struct.unpack("<Q", first[:8])[0])
    if length > MAX_HEADER:
        raise HeaderError(f"a header length of {length}, more than {MAX_HEADER}")
    if length < 2 or length + 8 > size:
        raise HeaderError(f"a header length of {length} in a file of {size} bytes")
    return length


def tensors(header: bytes, size: int) -> Dict[str, int]:
    """Bytes of each tensor, from the N header bytes of a file of ``size`` bytes; else HeaderError."""
    spans = []
    for name, value in _document(header).items():
        if name == "__metadata__":
            _check_metadata(value)
        else:
            spans.append((*_span(name, value), name))
    _check_contiguous(sorted(spans), size - 8 - len(header))
    return {name: end - begin for begin, end, name in spans}


def _document(header: bytes) -> Dict[str, Any]:
    if header[:1] != b"{":
        raise HeaderError("a header that does not begin with {")
    try:
        document = json.loads(header.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except HeaderError:
        raise
    except (ValueError, RecursionError) as error:
        raise HeaderError(f"a header that is not JSON ({error.__class__.__name__})") from error
    if not isinstance(document, dict):
        raise HeaderError("a header that is not a JSON object")
    return document


def _no_duplicates(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise HeaderError("a header that names something twice")
    return document


def _no_constant(name: str) -> None:
    raise HeaderError(f"{name} in the header")


def _check_metadata(value: Any) -> None:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise HeaderError("a __metadata__ that is not text to text")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _span(name: str, value: Any) -> Tuple[int, int]:
    """Begin and end of one tensor; they must hold exactly what dtype and shape ask for."""
    shown = ascii(name)[:100]
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"tensor {shown} without exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise HeaderError(f"tensor {shown} of unknown dtype {ascii(dtype)[:40]}")
    if not isinstance(shape, list) or len(shape) > 64 or not all(_whole(length) for length in shape):
        raise HeaderError(f"tensor {shown} with a shape that is no list of whole numbers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_whole(at) for at in offsets):
        raise HeaderError(f"tensor {shown} without two data_offsets")
    begin, end = offsets
    bits = _BITS[dtype]
    for length in shape:
        bits *= length
    if end < begin or (end - begin) * 8 != bits:
        raise HeaderError(f"tensor {shown} of {bits} bits in data_offsets [{begin}, {end}]")
    return begin, end


def _check_contiguous(spans: List[Tuple[int, int, str]], data_bytes: int) -> None:
    at = 0
    for begin, end, name in spans:
        if begin != at:
            fault = "overlapping" if begin < at else "leaving a hole before"
            raise HeaderError(f"data_offsets {fault} tensor {ascii(name)[:100]} at byte {min(begin, at)}")
        at = end
    if at != data_bytes:
        raise HeaderError(f"{data_bytes} bytes of tensors where the header describes {at}")

"""The attack corpus against safetensors headers: everything a framework must never be shown."""

from __future__ import annotations

import json
import struct

import pytest
from checkpoint import pack, shard
from dsdeploy_weights.safetensors import HeaderError, header_length, tensors


def check(data: bytes) -> dict[str, int]:
    length = header_length(data[:8], len(data))
    return tensors(data[8 : 8 + length], len(data))


def one(**changes: object) -> bytes:
    """A file with tensor 'a' of two F32 values, with parts of its description changed."""
    described: dict[str, object] = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    described.update(changes)
    return pack(json.dumps({"a": described}).encode(), b"\0" * 8)


def two(first: list[int], second: list[int], data: int = 16) -> bytes:
    header = {
        "a": {"dtype": "U8", "shape": [first[1] - first[0]], "data_offsets": first},
        "b": {"dtype": "U8", "shape": [second[1] - second[0]], "data_offsets": second},
    }
    return pack(json.dumps(header).encode(), b"\0" * data)


GOOD = {
    "two tensors": (shard({"a": 3, "b": 5}), {"a": 12, "b": 20}),
    "metadata": (shard({"a": 1}, format="pt"), {"a": 4}),
    "padding": (pack(b"{}      ", b""), {}),
    "scalar": (one(dtype="F64", shape=[]), {"a": 8}),
    "fp8": (one(dtype="F8_E4M3", shape=[8]), {"a": 8}),
    "four bits": (one(dtype="F4", shape=[4, 4]), {"a": 8}),
    "an empty tensor between": (two([0, 16], [16, 16]), {"a": 16, "b": 0}),
}


@pytest.mark.parametrize("data, sizes", GOOD.values(), ids=GOOD)
def test_good_headers(data: bytes, sizes: dict[str, int]) -> None:
    assert check(data) == sizes


BAD = {
    "empty file": (b"", "too short"),
    "seven bytes": (b"\0" * 7, "too short"),
    "length of zero": (pack(b"", b"\0" * 8), "header length of 0"),
    "length of 2^63": (struct.pack("<Q", 1 << 63) + b"{}", "more than"),
    "length of 2^64-1": (b"\xff" * 8 + b"{}", "more than"),
    "length over the limit": (pack(b"{}", b"", length=100_000_001), "more than"),
    "length past the end": (pack(b"{}", b"", length=3), "in a file of"),
    "one byte short": (shard({"a": 3})[:-1], "bytes of tensors where"),
    "one byte long": (shard({"a": 3}) + b"\0", "bytes of tensors where"),
    "not JSON": (pack(b"{nonsense", b""), "not JSON"),
    "a list": (pack(b"[]", b""), "begin with {"),
    "leading space": (pack(b" {}", b""), "begin with {"),
    "not UTF-8": (pack(b'{"\xff": 1}', b""), "not JSON"),
    "two documents": (pack(b"{}{}", b""), "not JSON"),
    "deep nesting": (pack(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b""), "not JSON"),
    "NaN": (pack(b'{"a": NaN}', b""), "NaN"),
    "a name twice": (pack(b'{"a": 1, "a": 2}', b""), "twice"),
    "a key twice inside": (pack(b'{"a": {"dtype": "U8", "dtype": "F32"}}', b""), "twice"),
    "metadata of numbers": (pack(b'{"__metadata__": {"a": 1}}', b""), "__metadata__"),
    "metadata a list": (pack(b'{"__metadata__": []}', b""), "__metadata__"),
    "tensor a number": (pack(b'{"a": 1}', b""), "exactly dtype"),
    "no offsets": (pack(b'{"a": {"dtype": "U8", "shape": []}}', b""), "exactly dtype"),
    "a key more": (one(code="import os"), "exactly dtype"),
    "unknown dtype": (one(dtype="PICKLE"), "unknown dtype"),
    "dtype a list": (one(dtype=["F32"]), "unknown dtype"),
    "negative shape": (one(shape=[-2]), "shape"),
    "shape of floats": (one(shape=[2.0]), "shape"),
    "shape of booleans": (one(shape=[True, 2]), "shape"),
    "shape too deep": (one(shape=[1] * 65), "shape"),
    "shape that overflows 64 bits": (one(shape=[1 << 62, 1 << 62]), "bits in"),
    "offsets backwards": (one(data_offsets=[8, 0]), "bits in"),
    "negative offset": (one(data_offsets=[-8, 0]), "data_offsets"),
    "three offsets": (one(data_offsets=[0, 4, 8]), "data_offsets"),
    "size not the shape's": (one(shape=[3]), "bits in"),
    "overlap": (two([0, 8], [4, 16]), "overlapping"),
    "hole": (two([0, 4], [8, 16]), "hole"),
    "hole at the start": (one(data_offsets=[8, 16]) + b"\0" * 8, "hole"),
    "past the end": (two([0, 8], [8, 24]), "bytes of tensors where"),
    "data nobody describes": (two([0, 4], [4, 8]), "bytes of tensors where"),
    "same bytes twice": (two([0, 16], [0, 16]), "overlapping"),
}


@pytest.mark.parametrize("data, said", BAD.values(), ids=BAD)
def test_bad_headers(data: bytes, said: str) -> None:
    with pytest.raises(HeaderError, match=said):
        check(data)

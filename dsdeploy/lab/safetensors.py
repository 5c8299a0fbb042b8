"""Write and read safetensors files: an 8-byte length, a JSON header, the tensors' bytes end to end.

For little-endian machines, as the format is little-endian and every machine with a GPU runtime is too.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]


def to_bf16(values: Floats) -> npt.NDArray[np.uint16]:
    """The bits of each value as bfloat16, rounded to nearest even. Finite values only."""
    bits = np.ascontiguousarray(values, dtype="<f4").view(np.uint32)
    rounded: npt.NDArray[np.uint16] = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def from_bf16(bits: npt.NDArray[np.uint16]) -> Floats:
    """The float32 values that these bfloat16 bits stand for; exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write(path: Path, tensors: Mapping[str, Floats], kept_f32: frozenset[str] = frozenset()) -> int:
    """Write one shard, BF16 but for the names in `kept_f32`; gives the bytes of tensor data."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    blobs: list[bytes] = []
    offset = 0
    for name, values in tensors.items():
        exact = name in kept_f32
        blob = (np.ascontiguousarray(values, dtype="<f4") if exact else to_bf16(values)).tobytes()
        header[name] = {
            "dtype": "F32" if exact else "BF16",
            "shape": list(values.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors 8-byte aligned
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return offset


def read(path: Path) -> dict[str, Floats]:
    """Every tensor of one shard as float32. Knows F32 and BF16; ValueError for anything else."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors: dict[str, Floats] = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        raw = data[8 + length + start : 8 + length + end]
        if entry["dtype"] == "BF16":
            values = from_bf16(np.frombuffer(raw, dtype="<u2"))
        elif entry["dtype"] == "F32":
            values = np.frombuffer(raw, dtype="<f4")
        else:
            raise ValueError(f"{path.name}: {name} is {entry['dtype']}, not F32 or BF16")
        tensors[name] = values.reshape(entry["shape"])
    return tensors

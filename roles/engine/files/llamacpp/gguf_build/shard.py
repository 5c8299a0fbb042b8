"""One safetensors file: its header, checked before a byte of it is trusted, and its tensors by rows."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gguf_build.errors import BuildError

HEADER_LIMIT = 100_000_000  # bytes; the format's own
# What each stored type takes, and the numpy type that holds its raw bits.
STORED: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F8_E4M3": np.dtype("u1"),
}
_REFETCH = "fetch the weights again: dsdeploy up --only weights"


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a shard: `dtype` by safetensors' name, `start` in bytes from its begin."""

    shard: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    def rows(self, start: int, stop: int | None) -> npt.NDArray[Any]:
        """The stored bits of rows `start` to `stop` along the first axis; reads those and no more.

        A plain read and no memory map: a bad sector is then an error message and not a SIGBUS.
        """
        kind = STORED[self.dtype]
        first, last, _ = slice(start, stop).indices(self.shape[0])
        row = prod(self.shape[1:])
        offset = self.start + first * row * kind.itemsize
        try:
            bits: npt.NDArray[Any] = np.fromfile(self.shard, kind, (last - first) * row, offset=offset)
        except OSError as error:
            raise BuildError(f"cannot read the shard: {error.strerror}", str(self.shard), _REFETCH) from error
        if bits.size != (last - first) * row:
            raise BuildError("the shard became shorter while it was read", str(self.shard), _REFETCH)
        return bits.reshape(last - first, *self.shape[1:])


def tensors(path: Path) -> dict[str, Stored]:
    """Every tensor of the shard at `path`. BuildError when it is cut short or is no safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))
            text = file.read(length) if length <= min(HEADER_LIMIT, size - 8) else b""
    except OSError as error:
        raise BuildError(f"cannot read the shard: {error.strerror}", str(path), _REFETCH) from error
    if not text.startswith(b"{"):
        raise BuildError("not a safetensors file, or cut short in its header", str(path), _REFETCH)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        found = {name: _entry(path, 8 + length, name, entry) for name, entry in header.items()}
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"the safetensors header is damaged: {error}", str(path), _REFETCH) from error
    if end != size:
        raise BuildError(f"the shard has {size} bytes, its header says {end}", str(path), _REFETCH)
    return found


def _entry(path: Path, base: int, name: str, entry: dict[str, object]) -> Stored:
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise ValueError(f"{name} has no usable dtype, shape and offsets")
    start, end = offsets
    stored = Stored(path, dtype, tuple(shape), base + start)
    # A type we cannot read matters only if the tensor is wanted: MTP layers may hold anything.
    if start < 0 or (dtype in STORED and end - start != prod(shape) * STORED[dtype].itemsize):
        raise ValueError(f"{name} does not fill its place")
    return stored

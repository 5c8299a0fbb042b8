"""A checkpoint as published: config, index and shards; any tensor in it, row by row, as float32."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from gguf_build import fp8, shard
from gguf_build.errors import BuildError
from gguf_build.fp8 import Floats

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SCALE = "_scale_inv"


def document(path: Path) -> dict[str, Any]:
    """The JSON object at `path`; BuildError when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BuildError(f"cannot read {path.name}: {error.strerror}", str(path)) from error
    except ValueError as error:
        raise BuildError(f"{path.name} is not JSON: {error}", str(path)) from error
    if not isinstance(content, dict):
        raise BuildError(f"{path.name} is not a JSON object", str(path))
    return content


@dataclass(frozen=True)
class Checkpoint:
    """The folder, its config.json, and where each tensor lies."""

    folder: Path
    config: Mapping[str, Any]
    stored: Mapping[str, shard.Stored]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._find(name).shape

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> Floats:
        """Rows `start` to `stop` along the first axis of a tensor, as float32."""
        stored = self._find(name)
        part = stored.rows(start, stop)
        if stored.dtype == "BF16":
            widened: Floats = (part.astype(np.uint32) << np.uint32(16)).view(np.float32)
            return widened
        if stored.dtype == "F8_E4M3":
            return fp8.dequantise(part, self._scales(name), self._block(), start)
        values: Floats = part.astype(np.float32, copy=False)
        return values

    def _find(self, name: str) -> shard.Stored:
        found = self.stored.get(name)
        if found is None:
            raise BuildError(f"the checkpoint lacks the tensor {name}", str(self.folder))
        if found.dtype not in shard.STORED:
            known = ", ".join(shard.STORED)
            raise BuildError(f"{name} is stored as {found.dtype}; this build reads {known}", str(found.shard))
        return found

    def _block(self) -> tuple[int, int]:
        quantised = self.config.get("quantization_config") or {}
        rows, columns = quantised.get("weight_block_size") or (128, 128)
        return int(rows), int(columns)

    def _scales(self, name: str) -> Floats:
        """The factors of an FP8 matrix, whole: a 16,384th of its values."""
        shape, block = self.shape(name), self._block()
        wanted = tuple(ceil(size / step) for size, step in zip(shape, block))
        if len(shape) != 2 or self.shape(name + SCALE) != wanted:
            what = f"{name}{SCALE} has shape {list(self.shape(name + SCALE))}, not {list(wanted)}"
            raise BuildError(what, str(self.folder))
        return self.rows(name + SCALE)


def load(folder: Path) -> Checkpoint:
    """Read the config and every shard's header. BuildError for a missing file or tensor, a damaged shard."""
    config = document(folder / "config.json")
    if not (folder / INDEX).exists() and (folder / SINGLE).exists():
        return Checkpoint(folder, config, shard.tensors(folder / SINGLE))
    where = document(folder / INDEX).get("weight_map")
    if not isinstance(where, dict) or not where:
        raise BuildError(f"{INDEX} has no weight_map", str(folder / INDEX))
    shards = {name: shard.tensors(_inside(folder, name)) for name in sorted(set(where.values()))}
    lost = [f"{name} (in {file})" for name, file in where.items() if name not in shards[file]]
    if lost:
        raise BuildError(f"{len(lost)} tensors are not where the index says, first {lost[0]}", str(folder))
    return Checkpoint(folder, config, {name: shards[file][name] for name, file in where.items()})


def _inside(folder: Path, name: str) -> Path:
    """A shard's path; the index is data from elsewhere and must not point out of the folder."""
    if not isinstance(name, str) or Path(name).name != name:
        raise BuildError(f"{INDEX} names the shard {name!r}, which is no plain file name", str(folder))
    return folder / name

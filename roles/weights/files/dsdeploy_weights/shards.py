"""``*.safetensors.index.json`` says which tensor is in which shard; the shards must agree, to the byte."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, List, Tuple

from . import content
from .errors import Finding

SUFFIX = ".safetensors.index.json"
_MAX_INDEX = 256 << 20

Open = Callable[[str], int]


def is_index(path: str) -> bool:
    return path.endswith(SUFFIX)


def _read(open_file: Open, index: str) -> Tuple[Dict[str, str], Any]:
    """weight_map with shard paths as the manifest spells them, and the announced total size (or None)."""
    fd = open_file(index)
    try:
        document = json.loads(os.pread(fd, _MAX_INDEX, 0).decode("utf-8-sig"))
    finally:
        os.close(fd)
    mapping = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(mapping, dict) or not all(isinstance(shard, str) for shard in mapping.values()):
        return {}, None
    folder = index.rpartition("/")[0]
    metadata = document.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    return {tensor: f"{folder}/{shard}" if folder else shard for tensor, shard in mapping.items()}, total


def unlisted(index: str, listed: List[str], open_file: Open) -> List[Finding]:
    """Shards the index names and the manifest does not, and the other way round. Needs no shard yet."""
    mapping, _ = _read(open_file, index)
    if not mapping:
        return [Finding(index, "a weight_map of tensors to shards", "none", "index")]
    shards = set(mapping.values())
    folder = index.rpartition("/")[0]
    there = {p for p in listed if p.endswith(".safetensors") and p.rpartition("/")[0] == folder}
    missing = [
        Finding(shard, f"in the manifest, as {index} names it", "not listed", "index") for shard in shards - there
    ]
    orphans = [Finding(shard, f"named by {index}", "not named there", "index") for shard in there - shards]
    return sorted(missing + orphans, key=lambda finding: finding.path)


def disagreements(index: str, open_file: Open) -> List[Finding]:
    """Tensors that are not in the shard the index says, or in none, and a total size that is not the sum."""
    mapping, total = _read(open_file, index)
    found: List[Finding] = []
    placed: Dict[str, str] = {}
    total_bytes = 0
    for shard in sorted(set(mapping.values())):
        for tensor, length in _tensors(open_file, shard).items():
            total_bytes += length
            placed[tensor] = shard
            if mapping.get(tensor) != shard:
                said = mapping.get(tensor, "no shard")
                found.append(Finding(shard, f"tensor {tensor!a} in {said}, says {index}", f"it in {shard}", "index"))
    for tensor in sorted(set(mapping) - set(placed)):
        found.append(Finding(mapping[tensor], f"tensor {tensor!a}, says {index}", "no such tensor", "index"))
    if total is not None and total != total_bytes:
        found.append(Finding(index, f"total_size {total_bytes} (the sum of the tensors)", ascii(total), "index"))
    return found


def _tensors(open_file: Open, shard: str) -> Dict[str, int]:
    fd = open_file(shard)
    try:
        size = os.fstat(fd).st_size
        return content.header(fd, shard, size, size) or {}
    finally:
        os.close(fd)

"""A checkpoint of a few hundred bytes a shard, in Hugging Face's layout, and the manifests over it."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

MANIFESTS = ("MD5SUMS", "SHA256SUMS", "manifest.json")


def shard(tensors: dict[str, int], **metadata: str) -> bytes:
    """A safetensors file with one-dimensional F32 tensors: name -> length."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, length in tensors.items():
        header[name] = {"dtype": "F32", "shape": [length], "data_offsets": [at, at + 4 * length]}
        at += 4 * length
    return pack(json.dumps(header).encode(), b"".join(struct.pack("<f", i % 251) for i in range(at // 4)))


def pack(header: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def checkpoint() -> dict[str, bytes]:
    shards = {
        "model-00001-of-00002.safetensors": {"embed": 4000, "norm": 16},
        "model-00002-of-00002.safetensors": {"head": 5000},
    }
    mapping = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    total = 4 * sum(length for tensors in shards.values() for length in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": mapping}
    files = {name: shard(tensors) for name, tensors in shards.items()}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    files["config.json"] = b'{"model_type": "deepseek_v3"}'
    files["tokenizer/vocab.txt"] = b"cat\ndog\nfish\n"
    return files


def md5sums(files: dict[str, bytes]) -> bytes:
    listed = sorted(set(files) - set(MANIFESTS))
    return "".join(f"{hashlib.md5(files[name]).hexdigest()}  {name}\n" for name in listed).encode()


def sha256sums(files: dict[str, bytes]) -> bytes:
    listed = sorted(set(files) - set(MANIFESTS))
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in listed).encode()


def manifest_json(files: dict[str, bytes]) -> bytes:
    listed = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
        if name not in MANIFESTS
    ]
    return json.dumps({"files": listed}).encode()

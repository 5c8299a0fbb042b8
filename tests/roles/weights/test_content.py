"""Content decides: what is refused whatever its name, and what only looks alike and is not."""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
from checkpoint import pack, shard
from dsdeploy_weights.content import examine
from dsdeploy_weights.errors import BadFile


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/canary-of-the-weights-tests",)


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({"w": 1}))
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.addfile(tarfile.TarInfo("../../etc/cron.d/x"))
    return buffer.getvalue()


def look(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        examine(fd, name, len(data), len(data), complete=True)
    finally:
        os.close(fd)


REFUSED = {
    **{f"pickle protocol {n}": ("x.dat", pickle.dumps(Evil(), protocol=n), "pickle") for n in range(6)},
    "pickle as safetensors": ("x.safetensors", pickle.dumps(Evil(), protocol=4), "pickle"),
    "text pickle as safetensors": ("x.safetensors", pickle.dumps(Evil(), protocol=0), "pickle"),
    "pickle of a dict": ("x", pickle.dumps({"a": [1, 2]}, protocol=0), "pickle"),
    "pickle of a list": ("x", pickle.dumps([1, 2], protocol=0), "pickle"),
    "pickle of an ordered dict": ("x", pickle.dumps(OrderedDict(a=1), protocol=2), "pickle"),
    "zip": ("pytorch_model.bin", archive(), "zip"),
    "zip as safetensors": ("x.safetensors", archive(), "zip"),
    "zip behind other bytes": ("x.bin", b"harmless" * 100 + archive(), "zip"),
    "tar": ("x.nemo", tar(), "tar"),
    "gzip": ("x.gz", b"\x1f\x8b\x08" + b"\0" * 600, "gzip"),
    "program": ("x.bin", b"\x7fELF" + b"\0" * 600, "program"),
    "script": ("run.sh", b"#!/bin/sh\nid\n", "script"),
    "Python by name": ("modeling_deepseek.py", b"import os\n", "code"),
    "Python by name, shouted": ("MODELING.PY", b"import os\n", "code"),
    "shared object by name": ("x.so", b"\0" * 10, "code"),
    "lfs pointer": ("x.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 5\n", "git-lfs"),
    "web page": ("x.safetensors", b"<!DOCTYPE html><html>Not found</html>", "web page"),
    "web page, spaced": ("config.json", b"\n\n  <HTML><body>", "web page"),
    "XML error": ("x.safetensors", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "web page"),
    "header past the end": ("x.safetensors", pack(b"{}", b"", length=1 << 40), "header length"),
    "empty shard": ("x.safetensors", b"", "too short"),
    "not JSON": ("config.json", b"{", "not JSON"),
    "JSON too deep": ("config.json", b"[" * 100_000, "not JSON"),
    "auto_map elsewhere": (
        "config.json",
        json.dumps({"auto_map": {"AutoModel": "evil/repo--m.C"}}).encode(),
        "auto_map",
    ),
    "auto_map in a list": ("t.json", json.dumps({"auto_map": {"A": [None, "e/r--m.C"]}}).encode(), "auto_map"),
}


@pytest.mark.parametrize("name, data, said", REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(BadFile) as error:
        look(tmp_path, name, data)
    assert said in error.value.finding.got and error.value.finding.path == name
    assert not Path("/tmp/canary-of-the-weights-tests").exists()


TAKEN = {
    "shard": ("x.safetensors", shard({"a": 2})),
    "header length that begins like a pickle": ("x.safetensors", pack(b"{}".ljust(0x280), b"")),
    "words": ("vocab.txt", b"cat\ndog\nfish\nbird\n"),
    "words with an i": ("vocab.txt", b"in\nout\n" * 50),
    "merges": ("merges.txt", b"#version: 0.2\nt h\n(c at\n"),
    "markdown": ("README.md", b"# DeepSeek\n<p>hello</p>\n"),
    "empty text": (".gitattributes", b""),
    "JSON with a byte order mark": ("config.json", b'\xef\xbb\xbf{"a": 1}'),
    "auto_map without code": (
        "config.json",
        b'{"auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"}}',
    ),
    "sentencepiece": ("tokenizer.model", b"\n\x0e\n\x05<unk>\x15\0\0\0\0"),
}


@pytest.mark.parametrize("name, data", TAKEN.values(), ids=TAKEN)
def test_taken(tmp_path: Path, name: str, data: bytes) -> None:
    look(tmp_path, name, data)

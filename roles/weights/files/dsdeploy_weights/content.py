"""Refuse by content, not by extension: pickles, archives, programs, web pages, pointers posing as weights."""

from __future__ import annotations

import json
import os
import pickletools
import re
from typing import Any, Dict, Optional

from . import safetensors
from .errors import BadFile, Finding

HEAD = 512
_PICKLE_HEAD = 1 << 16
_MAX_JSON = 256 << 20
_LFS = b"version https://git-lfs.github.com/spec/"
_WEB = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype|html|head|body|\?xml)\b", re.IGNORECASE | re.DOTALL)
_GLOBAL = rb"[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n"
_TEXT_PICKLE = re.compile(rb"[(\]})]*c" + _GLOBAL + rb"|\([(\]})]*i" + _GLOBAL + rb"|\([dl]p\d*\r?\n")
_MAGIC = (
    (b"PK\x03\x04", "a zip archive (PyTorch's pickle container is one)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x7fELF", "a compiled program"),
    (b"#!", "a script"),
)
_CODE = (".py", ".pyc", ".pyo", ".pyd", ".pyw", ".pyz", ".so", ".pth")


def _head_objection(path: str, head: bytes) -> str:
    """What the first bytes give away, or an empty string."""
    if head.startswith(_LFS):
        return "a git-lfs pointer instead of the file it stands for"
    if _WEB.match(head):
        return "a web page, probably an error page"
    if path.lower().endswith(_CODE):
        return "program code, which weights must not carry"
    if not path.endswith(".safetensors"):
        # A safetensors file may begin with any byte: it is its header length, checked on its own.
        for magic, what in _MAGIC:
            if head.startswith(magic):
                return what
    elif head[:4] == b"PK\x03\x04":
        return "a zip archive (PyTorch's pickle container is one)"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and _is_pickle_body(path, head):
        return "a Python pickle, which runs code when it is loaded"
    if _TEXT_PICKLE.match(head) and _parses_as_pickle(head):
        return "a Python pickle, which runs code when it is loaded"
    if head[257:262] == b"ustar":
        return "a tar archive"
    return ""


def _is_pickle_body(path: str, head: bytes) -> bool:
    """80 02..05 also begins a safetensors file by its length; the ninth byte tells them apart."""
    return not (path.endswith(".safetensors") and head[8:9] == b"{")


def _parses_as_pickle(head: bytes) -> bool:
    """A word list may begin like a text pickle ('cat', newline, 'dog'); only a pickle goes on like one."""
    try:
        for _ in pickletools.genops(head):
            pass
    except ValueError as error:
        return "unknown" not in str(error)
    return True


def _bad(path: str, got: str, kind: str = "content") -> BadFile:
    wanted = "safetensors" if path.endswith(".safetensors") else "JSON" if path.endswith(".json") else "plain data"
    return BadFile(Finding(path, wanted, got, kind))


def examine(fd: int, path: str, have: int, size: Optional[int], *, complete: bool) -> bool:
    """Look at the first ``have`` bytes of ``fd``, which will be ``size`` bytes long when complete.

    True when nothing more can be learnt before the file is complete. BadFile when it must not be kept.
    """
    if have < HEAD and not complete:
        return False
    why = _head_objection(path, os.pread(fd, _PICKLE_HEAD, 0))
    if why:
        raise _bad(path, why)
    if path.endswith(".safetensors"):
        total = have if complete else size
        if total is None:
            return False
        return header(fd, path, have, total) is not None
    if complete:
        _examine_whole(fd, path, have)
    return True


def header(fd: int, path: str, have: int, size: int) -> Optional[Dict[str, int]]:
    """Bytes of each tensor of a shard, or None while its header has not arrived yet."""
    try:
        length = safetensors.header_length(os.pread(fd, 8, 0), size)
        if have < 8 + length:
            return None
        return safetensors.tensors(os.pread(fd, length, 8), size)
    except safetensors.HeaderError as error:
        raise _bad(path, str(error), "header") from error


def _examine_whole(fd: int, path: str, size: int) -> None:
    tail = os.pread(fd, 22, max(0, size - 22))
    if tail[:4] == b"PK\x05\x06":
        raise _bad(path, "a file that is a zip archive when read from its end")
    if path.endswith(".json"):
        document = _json(fd, path, size)
        for reference in _remote_code(document):
            raise _bad(path, f"auto_map to code elsewhere ({ascii(reference)[:80]})")


def _json(fd: int, path: str, size: int) -> Any:
    if size > _MAX_JSON:
        raise _bad(path, f"{size} bytes of JSON, more than {_MAX_JSON}")
    try:
        return json.loads(os.pread(fd, size, 0).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"text that is not JSON ({error.__class__.__name__})") from error


def _remote_code(document: Any) -> Any:
    """auto_map values such as ``someone/repo--module.Class``: some runtimes fetch and run those unasked."""
    mapping = document.get("auto_map") if isinstance(document, dict) else None
    if not isinstance(mapping, dict):
        return
    for value in mapping.values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "--" in text:
                yield text

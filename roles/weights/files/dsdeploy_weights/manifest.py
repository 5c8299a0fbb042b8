"""The lists of files and hashes a source publishes: MD5SUMS, SHA256SUMS, manifest.json; any one is enough.

manifest.json is ``{"files": [{"path": str, "size": int, "sha256": hex, "md5": hex (optional)}]}``.
Sums files are what ``md5sum`` and ``sha256sum`` write: plain, binary (``*``), escaped, or BSD (``--tag``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Tuple

from . import names
from .errors import Finding, Refused
from .hashing import Hasher

_LENGTH = {"md5": 32, "sha256": 64}
_GNU = re.compile(r"(\\?)([0-9A-Fa-f]+) [ *](.*)\Z", re.DOTALL)
_BSD = re.compile(r"(\\?)(MD5|SHA256) \((.*)\) = ([0-9A-Fa-f]+)\Z", re.DOTALL)
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


@dataclass(frozen=True)
class Entry:
    """One file as the source promises it; at least one of the hashes is there."""

    path: str
    size: Optional[int] = None
    md5: str = ""
    sha256: str = ""


def text(raw: bytes, name: str) -> str:
    """Decode a manifest; UTF-8 with or without a byte order mark, nothing else."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise Refused(f"{name} is UTF-16", hint="write it as UTF-8, as md5sum does")
    if raw.lstrip()[:1] == b"<":
        raise Refused(f"{name} is a web page, not a manifest", hint="check the address in model.source")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{name} is not text: {error.reason} at byte {error.start}") from error


def parse_sums(raw: bytes, algorithm: str, name: str) -> List[Entry]:
    """Entries of a sums file; ``algorithm`` is md5 or sha256. Refused names the first senseless line."""
    entries = []
    for number, line in enumerate(text(raw, name).split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        entries.append(_entry(line, algorithm, f"{name} line {number}"))
    if not entries:
        raise Refused(f"{name} lists no file", hint="a manifest without files verifies nothing; write it anew")
    return entries


def _entry(line: str, algorithm: str, where: str) -> Entry:
    bsd, gnu = _BSD.match(line), _GNU.match(line)
    if bsd:
        escaped, kind, path, digest = bsd.groups()
    elif gnu:
        escaped, digest, path = gnu.groups()
        kind = algorithm
    else:
        raise Refused(f"{where} is not '<{algorithm}>  <path>'", where=ascii(line[:80]))
    if kind.lower() != algorithm or len(digest) != _LENGTH[algorithm]:
        raise Refused(f"{where} does not hold a {algorithm} of {_LENGTH[algorithm]} hex digits", where=ascii(line[:80]))
    if escaped:
        path = re.sub(r"\\[\\nr]", lambda match: _ESCAPES[match.group()], path)
    path = path[2:] if path.startswith("./") else path
    return Entry(path, **{algorithm: digest.lower()})  # type: ignore[arg-type]


def parse_json(raw: bytes, name: str) -> List[Entry]:
    """Entries of manifest.json; every one needs a size and a sha256."""
    try:
        document = json.loads(text(raw, name))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name} is not JSON: {error}") from error
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, list) or not files:
        raise Refused(f"{name} has no list of files", hint='it looks like {"files": [{"path", "size", "sha256"}]}')
    return [_json_entry(item, f"{name} files[{index}]") for index, item in enumerate(files)]


def _json_entry(item: object, where: str) -> Entry:
    if not isinstance(item, dict):
        raise Refused(f"{where} is not an object")
    path, size = item.get("path"), item.get("size")
    sha256, md5 = item.get("sha256"), item.get("md5", "")
    if not isinstance(path, str):
        raise Refused(f"{where} has no path")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Refused(f"{where} ({path!a}) has no size in bytes")
    for algorithm, digest in (("sha256", sha256), ("md5", md5 or "0" * 32)):
        if not isinstance(digest, str) or not re.match(r"[0-9A-Fa-f]{%d}\Z" % _LENGTH[algorithm], digest):
            raise Refused(f"{where} ({path!a}) has no {algorithm} of {_LENGTH[algorithm]} hex digits")
    return Entry(path, size, str(md5).lower(), str(sha256).lower())


def combine(documents: Dict[str, bytes]) -> Tuple[Entry, ...]:
    """One entry a file, sorted by path, from the manifests that were found (name -> bytes).

    Refused, with every finding, for a name that may not be written and for manifests that disagree.
    """
    lists = {}
    for name, raw in documents.items():
        entries = parse_json(raw, name) if name == "manifest.json" else parse_sums(raw, _algorithm(name), name)
        lists[name] = _without_manifests(entries, documents)
    problems = [finding for entries in lists.values() for finding in names.objections(e.path for e in entries)]
    if problems:
        raise Refused("the manifest lists names that are refused", hint="nothing was written", problems=problems)
    merged: Dict[str, Entry] = {}
    for entries in lists.values():
        for entry in entries:
            merged[entry.path] = _merge(merged.get(entry.path), entry)
    _refuse_gaps(lists, merged)
    if not merged:
        raise Refused("the manifest lists no file besides itself")
    return tuple(merged[path] for path in sorted(merged))


def _algorithm(name: str) -> str:
    return "md5" if name == "MD5SUMS" else "sha256"


def _without_manifests(entries: List[Entry], documents: Dict[str, bytes]) -> List[Entry]:
    """Drop the manifests themselves; one that is listed by another must be what that one says."""
    kept = []
    for entry in entries:
        if entry.path not in names.MANIFESTS:
            kept.append(entry)
        elif entry.path in documents and entry.size is not None:
            _refuse_other_manifest(entry, documents[entry.path])
    return kept


def _refuse_other_manifest(entry: Entry, raw: bytes) -> None:
    hasher = Hasher()
    hasher.update(raw)
    got = hasher.sums().sha256
    if entry.sha256 != got:
        raise Refused("the manifests disagree", problems=[Finding(entry.path, entry.sha256, got, "sha256")])


def _merge(known: Optional[Entry], entry: Entry) -> Entry:
    if known is None:
        return entry
    for kind in ("md5", "sha256", "size"):
        one, other = getattr(known, kind), getattr(entry, kind)
        if one not in ("", None) and other not in ("", None) and one != other:
            raise Refused("the manifests disagree", problems=[Finding(entry.path, str(one), str(other), kind)])
    size = known.size if known.size is not None else entry.size
    return replace(known, size=size, md5=known.md5 or entry.md5, sha256=known.sha256 or entry.sha256)


def _refuse_gaps(lists: Dict[str, List[Entry]], merged: Dict[str, Entry]) -> None:
    problems = []
    for name, entries in lists.items():
        listed = {entry.path for entry in entries}
        problems += [
            Finding(path, f"listed in {name} too", "only in another manifest", "manifest")
            for path in sorted(set(merged) - listed)
        ]
    if problems:
        raise Refused("the manifests disagree", hint="write them again, over the same files", problems=problems)

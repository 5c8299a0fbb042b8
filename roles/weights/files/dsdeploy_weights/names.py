"""Which names may become files. Decided before anything is written, because a manifest comes from outside."""

from __future__ import annotations

import re
from typing import Dict, Iterable, List

from .errors import Finding

MANIFESTS = ("manifest.json", "SHA256SUMS", "MD5SUMS")
RESERVED = (".part", ".part.json")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_SEGMENT = re.compile(r"[A-Za-z0-9_.+@=,()\[\] -]+\Z")
_WANTED = "a plain relative path below the version directory"


def is_identifier(text: str) -> bool:
    """True for a model or version name that is safe as one directory name."""
    return bool(_IDENTIFIER.match(text)) and ".." not in text and not text.endswith(".partial")


def objection(path: str) -> str:
    """Why ``path`` may not be written, or an empty string when it may."""
    if not path:
        return "an empty name"
    if any(ord(c) < 32 or ord(c) == 127 for c in path):
        return "a control character in the name"
    if len(path.encode("utf-8", "surrogatepass")) > 255:
        return "a name longer than 255 bytes"
    if path.startswith("/"):
        return "an absolute path"
    if path.endswith(RESERVED):
        return "a name reserved for unfinished downloads"
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            return f"a path segment {segment!r}"
        if segment.startswith("-"):
            return "a segment that looks like an option"
        if segment.endswith((" ", ".")) or segment.startswith(" "):
            return "a segment that starts or ends with a space or ends with a dot"
        if not _SEGMENT.match(segment):
            return "characters other than letters, digits and _.+@=,()[]- and space"
    return ""


def objections(paths: Iterable[str]) -> List[Finding]:
    """Every name that is refused, every duplicate (case aside), every file that is also a directory."""
    found: List[Finding] = []
    seen: Dict[str, str] = {}
    listed = list(paths)
    for path in listed:
        why = objection(path)
        if why:
            found.append(Finding(ascii(path)[1:-1], _WANTED, why, "name"))
        folded = path.casefold()
        if folded in seen:
            found.append(Finding(path, "each file listed once", f"also listed as {seen[folded]}", "duplicate"))
        seen[folded] = path
    for path in listed:
        parts = path.casefold().split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above in seen:
                found.append(Finding(path, "a directory above it", f"{seen[above]} is a file", "name"))
    return found

"""Is the build on disk the one that was made? Asked before every start.

Sizes are always compared. Content is hashed, unless ``build.json`` carries the file's stat stamp from when it
was made and the stamp still matches: a 300 GB model then starts at once, and a touched file is not trusted.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, List

_STAMP = ("mtime_ns", "ctime_ns", "inode", "device")


class Damaged(ValueError):
    """The build differs from its own record; says which file, wanted and got."""


def verify(build: Path) -> Dict[str, Any]:
    """The parsed ``build.json`` of an intact build. Raises Damaged."""
    try:
        record: Dict[str, Any] = json.loads((build / "build.json").read_text())
        files: List[Dict[str, Any]] = record["files"]
        for entry in files:
            _check(build / entry["path"], entry)
    except OSError as error:
        raise Damaged(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"{build}/build.json is not a build record: {error!r}") from error
    if not files:
        raise Damaged(f"{build}/build.json lists no file")
    return record


def _check(path: Path, entry: Dict[str, Any]) -> None:
    stat = path.stat()
    if stat.st_size != entry["size"]:
        raise Damaged(f"{path}: wanted {entry['size']} bytes, got {stat.st_size}")
    stamp = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    if tuple(entry.get(name) for name in _STAMP) == stamp:
        return
    got, wanted = _sha256(path), str(entry["sha256"])
    if got != wanted:
        raise Damaged(f"{path}: wanted sha256 {wanted}, got {got}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()

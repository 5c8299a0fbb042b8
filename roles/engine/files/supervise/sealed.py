"""Where a build comes to be: beside its final place, by one process at a time, recorded, then renamed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional

import artefact

RECORD = "build.json"


def sound(final: Path, key: str) -> Optional[Dict[str, Any]]:
    """The record of an intact build of this key; None for none."""
    try:
        record = artefact.verify(final)
    except artefact.Damaged:
        return None
    return record if record.get("key") == key else None


@contextmanager
def alone(final: Path) -> Iterator[Path]:
    """An empty folder beside, locked. What a killed build left is removed, and what this one leaves too."""
    partial = final.with_name(final.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    handle = os.open(str(partial.parent / f".{final.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o755)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(handle)


def seal(partial: Path, final: Path, content: Mapping[str, Any]) -> None:
    """Own everything, record it, put it in place; a build that was there is kept aside once, as damaged."""
    files = []
    for path in sorted(path for path in partial.rglob("*") if path.is_file() and not path.is_symlink()):
        os.chown(path, 0, 0)
        path.chmod(0o644)
        stat = path.stat()
        files.append({
            "path": str(path.relative_to(partial)), "size": stat.st_size, "sha256": digest(path),
            "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns, "inode": stat.st_ino, "device": stat.st_dev,
        })  # fmt: skip
    for folder in [partial, *(path for path in partial.rglob("*") if path.is_dir() and not path.is_symlink())]:
        os.chown(folder, 0, 0)
        folder.chmod(0o755)
    with (partial / RECORD).open("w", encoding="utf-8") as file:
        json.dump({**content, "files": files}, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    (partial / RECORD).chmod(0o644)
    if final.exists():
        aside = final.with_name(final.name + ".damaged-1")
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)
    partial.rename(final)


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()

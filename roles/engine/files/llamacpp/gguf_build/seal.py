"""build.json: what an artefact is, so that it can be trusted later without reading all of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SEAL = "build.json"
MODEL = "model.gguf"


def stamp(path: Path) -> dict[str, int]:
    """What changes when somebody touches a file. ctime too: a modification time can be set back."""
    seen = path.stat()
    return {
        "mtime_ns": seen.st_mtime_ns,
        "ctime_ns": seen.st_ctime_ns,
        "inode": seen.st_ino,
        "device": seen.st_dev,
    }


def sha256(path: Path) -> str:
    """Of the whole file, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Put build.json in place, whole or not at all, and make it last."""
    beside = folder / f".{SEAL}.new"
    with beside.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        json.dump(content, file, indent=1, ensure_ascii=False, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.rename(folder / SEAL)
    sync(folder)


def sync(folder: Path) -> None:
    """Make a folder's entries survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fault(folder: Path, key: str, deep: bool) -> str:
    """Why the artefact in `folder` cannot be used; empty when it can.

    A file whose stamp is the recorded one is taken as unchanged. Otherwise, or with `deep`, it is hashed;
    when only the stamp was wrong (a copy, a changed owner) the new one is recorded.
    """
    try:
        content = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        files = [(folder / file["path"], file) for file in content["files"]]
        if content["key"] != key:
            return f"{SEAL} is for key {content['key']}"
    except FileNotFoundError:
        return f"{SEAL} is missing"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{SEAL} is damaged: {error}"
    if [path.name for path, _ in files] != [MODEL]:
        return f"{SEAL} does not name {MODEL} alone"
    for path, file in files:
        found = _file_fault(path, file, deep)
        if found:
            return found
    _restamp(folder, content)
    return ""


def _file_fault(path: Path, file: Mapping[str, Any], deep: bool) -> str:
    if path.is_symlink() or not path.is_file():
        return f"{path.name} is missing"
    if path.stat().st_size != file.get("size"):
        return f"{path.name} has {path.stat().st_size} bytes, not {file.get('size')}"
    if not deep and stamp(path).items() <= file.items():
        return ""
    found = sha256(path)
    return "" if found == file.get("sha256") else f"{path.name} has SHA-256 {found}, not {file.get('sha256')}"


def _restamp(folder: Path, content: dict[str, Any]) -> None:
    """Record stamps that differ. Not being allowed to costs only a hash the next time."""
    files = [{**file, **stamp(folder / file["path"])} for file in content["files"]]
    if files != content["files"]:
        try:
            write(folder, {**content, "files": files})
        except OSError:
            return

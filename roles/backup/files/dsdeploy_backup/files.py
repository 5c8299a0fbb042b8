"""Writing so that a crash leaves the old file or the new one; reading a file's digest; emptying a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

CHUNK = 1 << 20


def sync(folder: Path) -> None:
    """A folder's entries onto the disk."""
    descriptor = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put(path: Path, text: str, mode: int = 0o600) -> None:
    """The whole text under this name, or what was there before."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(str(draft), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(str(draft), str(path))
        sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            found.update(chunk)
    return found.hexdigest()


def empty(folder: Path) -> Path:
    """The folder, private, with nothing in it: what a killed run left there is gone."""
    remove(folder)
    folder.mkdir(parents=True, mode=0o700)
    return folder


def remove(path: Path) -> None:
    """A file, link or whole tree; nothing when it is not there. Raises OSError when it stays."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(str(path))

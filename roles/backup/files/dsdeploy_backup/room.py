"""Whether a disk can take what is to be written: asked before, so that a full one is a refusal and no failure."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import NoRoom

RESERVE = 64 << 20  # bytes to leave free


def room(folder: Path, wanted: int, hint: str = "free some space there") -> None:
    """Raises NoRoom when `wanted` bytes do not fit below `folder`, which need not be there yet."""
    at = folder
    while not at.exists():
        at = at.parent
    seen = os.statvfs(str(at))
    free = seen.f_bavail * seen.f_frsize
    if wanted + RESERVE > free:
        raise NoRoom(f"{wanted + RESERVE >> 20} MiB are needed, {free >> 20} MiB are free; nothing was written",
                     str(at), hint)  # fmt: skip

"""Refuse before the first byte when the disk cannot hold what is still to come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

from .errors import Refused

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def spoken(count: float) -> str:
    """1536 -> '1.5 KiB'."""
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def check(path: Path, sizes: Sequence[int]) -> None:
    """``sizes`` are the bytes still to be written, one a file; each file also takes a block and an inode."""
    if not sizes:
        return
    above = next(p for p in (path, *path.parents) if p.exists())
    disk = os.statvfs(above)
    free, needed = disk.f_bavail * disk.f_frsize, sum(sizes) + disk.f_frsize * len(sizes)
    if free < needed:
        raise Refused(
            f"not enough space: needs {spoken(needed)} ({needed} bytes) for {len(sizes)} files, "
            f"has {spoken(free)} ({free} bytes)",
            str(path),
            f"free {spoken(needed - free)} there; nothing was deleted",
        )
    inodes = 2 * len(sizes) + 8
    if disk.f_files and disk.f_favail < inodes:  # some file systems count no inodes at all
        raise Refused(f"not enough inodes: needs {inodes}, has {disk.f_favail}", str(path), "remove small files there")

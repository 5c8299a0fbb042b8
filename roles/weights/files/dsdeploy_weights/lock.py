"""One writer a version: a second pull waits for the first, and then finds its work done.

The kernel drops the lock with the process, so a killed pull leaves nothing to clean up. This is also how a
new ``up`` attaches to a pull whose SSH connection was lost: it waits for the end of that one.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .errors import Refused

_ASK_EVERY_S = 0.2


@contextmanager
def held(path: Path, wait_s: float) -> Iterator[bool]:
    """Hold the lock; yields True when another process had it first. Refused after ``wait_s`` seconds."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        waited = _wait(fd, path, wait_s)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield waited
    finally:
        os.close(fd)


def _wait(fd: int, path: Path, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    waited = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return waited
        except BlockingIOError:
            waited = True
        if time.monotonic() > deadline:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            raise Refused(f"another pull or verify (process {holder}) still works on this version", str(path))
        time.sleep(_ASK_EVERY_S)

#!/usr/bin/python3
"""Who holds the package manager's lock, and waiting for it with a bound.

The package modules' own waiting was seen to fail at once, or to say neither who nor for how long. One file, two
uses: the role module ``package_lock`` imports it, and other roles run the installed copy before they install.
Standard library only, Python >= 3.8; needs root to open the lock files.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import struct
import sys
import time
from dataclasses import dataclass
from typing import Callable, List, Optional, Sequence

# dpkg and apt, then rpm and dnf; a file that does not exist belongs to the other family
LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
    "/usr/lib/sysimage/rpm/.rpm.lock",
    "/var/lib/rpm/.rpm.lock",
)
_FLOCK = "hhqqi0q"  # struct flock on 64-bit Linux: type, whence, start, length, pid


@dataclass(frozen=True)
class Holder:
    """A process that holds a package lock; `pid` 0 is one outside this pid namespace."""

    path: str
    pid: int
    name: str

    def __str__(self) -> str:
        return "package lock %s is held by %s (pid %d)" % (self.path, self.name, self.pid)


def _name(pid: int) -> str:
    try:
        with open("/proc/%d/comm" % pid, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return "a process that is gone or out of sight"


def holder(paths: Sequence[str] = LOCKS) -> Optional[Holder]:
    """The first holder found, None when nobody holds one. Asks the kernel, takes no lock itself."""
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            ask = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, ask))
        finally:
            os.close(descriptor)
        if kind != fcntl.F_UNLCK:
            return Holder(path, pid, _name(pid))
    return None


def wait(
    limit: float,
    look: Callable[[], Optional[Holder]] = holder,
    clock: Callable[[], float] = time.monotonic,
    rest: Callable[[float], None] = time.sleep,
) -> Optional[Holder]:
    """Wait up to `limit` seconds for the locks to be free; None when they are, else who still holds one."""
    end = clock() + limit
    while True:
        found = look()
        if found is None or clock() >= end:
            return found
        rest(1.0)


def complaint(found: Holder, limit: float) -> str:
    """The sentence an operator reads, with what to try."""
    look = "ps -fp %d; " % found.pid if found.pid else ""
    cure = look + "let it finish, then run the same command again"
    return "%s, and still after %d s; try: %s" % (found, limit, cure)


def main(argv: Optional[List[str]] = None) -> int:
    """0 when no package lock is held within --wait seconds, 1 with one line on standard error."""
    parser = argparse.ArgumentParser(description="Waits until no package manager is at work.")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS")
    limit = parser.parse_args(argv).wait
    found = wait(limit)
    if found is None:
        return 0
    print(complaint(found, limit), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

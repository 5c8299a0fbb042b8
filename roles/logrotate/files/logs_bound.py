"""Logs below some names, what they take of the disk, and how they are brought below a total. Python >= 3.8."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import stat
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

# what rotation makes of a name: .1, -20261122, -20261122-1795344634, each perhaps compressed
OLD = r"(?:[.-]\d[\d-]*)(?:\.(?:gz|xz|zst))?"
NUMBER = re.compile(r"\.(\d{1,4})(?:\.(?:gz|xz|zst))?$")
TAIL = 1 << 16  # bytes of a log that stay when it is cut: what went wrong stands at its end
BLOCK = 512  # bytes that one of st_blocks stands for, whatever the file system's own are


class Live(NamedTuple):
    """A log that is written now."""

    size: int
    path: str


class Old(NamedTuple):
    """A rotated log. `at` orders them: minus its number, as the clock may have been wrong; without one, its time."""

    at: float
    size: int
    path: str


class Cut(NamedTuple):
    """`gone` bytes went of a live log; `why` says why none could."""

    path: str
    gone: int
    why: str = ""

    def said(self, reason: str) -> str:
        """A sentence for the journal."""
        if self.why:
            return f"{self.path} could not be cut: {self.why}"
        return f"{self.path} was cut by {self.gone >> 10} KiB: {reason}, its end is kept"


def taken(seen: os.stat_result) -> int:
    """Bytes that a file takes of its disk. One that was emptied below a writer which does not append begins with a
    hole as long as all that was ever written to it: that takes nothing."""
    return min(seen.st_size, seen.st_blocks * BLOCK)


def rotated(patterns: List[str]) -> List[Old]:
    """Old logs of these, oldest first."""
    found = {}
    for pattern in patterns:
        folder, name = os.path.split(pattern)
        wanted = re.compile(re.escape(name).replace(r"\*", "[^/]*") + OLD)
        for directory in glob.glob(folder):
            with contextlib.suppress(OSError):
                for entry in os.scandir(directory):
                    if wanted.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        seen = entry.stat(follow_symlinks=False)
                        number = NUMBER.search(entry.name)
                        at = -float(number.group(1)) if number else seen.st_mtime
                        found[entry.path] = Old(at, taken(seen), entry.path)
    return sorted(found.values())


def live(patterns: List[str]) -> List[Live]:
    """The logs that are written now, the largest first."""
    found = []
    for path in {path for pattern in patterns for path in glob.glob(pattern)}:
        with contextlib.suppress(OSError):
            found.append(Live(taken(os.lstat(path)), path))
    return sorted(found, reverse=True)


def live_size(patterns: List[str]) -> int:
    """Bytes of the logs that are written now."""
    return sum(one.size for one in live(patterns))


def surplus(old: List[Old], live: int, total: int) -> List[Old]:
    """The oldest, as many as must go so that the rest and the live logs fit. Pure."""
    size, gone = live + sum(one.size for one in old), []
    for one in old:
        if size <= total:
            break
        gone.append(one)
        size -= one.size
    return gone


def remove(old: List[Old]) -> Tuple[int, List[str]]:
    """Bytes that were freed, and what could not be removed."""
    freed, complaints = 0, []
    for one in old:
        try:
            os.unlink(one.path)
            freed += one.size
        except OSError as error:
            complaints.append(f"{one.path}: {error.strerror}")
    return freed, complaints


def cut(path: str) -> int:
    """Bytes that went: all but the end of a log that a program goes on writing. Raises OSError.

    The folder may be another user's: neither a link nor a second name of some other file is followed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_nlink != 1:
            raise OSError(errno.EPERM, "not a plain file with one name")
        end = os.pread(descriptor, TAIL, max(0, seen.st_size - TAIL))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, end)
        return max(0, taken(seen) - len(end))
    finally:
        os.close(descriptor)


def relieve(patterns: List[str], total: int, stuck: int = 0) -> List[Cut]:
    """Live logs that were cut, or could not be: the largest first, while all together are over the total.

    With `stuck` (rotation found no room) those that are larger than that, too, as long as their copy would not fit.
    """
    cuts = []
    size = live_size(patterns) + sum(one.size for one in rotated(patterns))
    for one in live(patterns):
        try:
            room = os.statvfs(one.path)
            crowded = 0 < stuck < one.size and room.f_bavail * room.f_frsize < one.size
            if one.size > TAIL and (size > total or crowded):
                gone = cut(one.path)
                size -= gone
                cuts.append(Cut(one.path, gone))
        except OSError as error:
            cuts.append(Cut(one.path, 0, str(error.strerror)))
    return cuts


@contextlib.contextmanager
def alone(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of who may remove rotated logs, so that none goes while logrotate renames them. Whether it is
    held: without `wait` not while another holds it, and never where a full disk takes no new file."""
    try:
        descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)

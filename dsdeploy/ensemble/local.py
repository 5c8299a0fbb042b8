"""The lock of this computer: a file that its holder keeps locked, so that it ends with the process.

It is all there is before the ensemble exists. Later ZooKeeper decides: of a holder that has its lock
there too, the file says so, and whoever takes that one over may put a new file in its place.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from time import sleep

from dsdeploy import owner as owners
from dsdeploy import paths
from dsdeploy.errors import DsdeployError
from dsdeploy.owner import Owner
from dsdeploy.site import Site

TRIES = 4
PAUSE_SECONDS = 0.05  # somebody who only looks has it locked for a moment
_HINTS = {
    errno.ENOSPC: "df -h {folder}; then run the same command again",
    errno.EDQUOT: "quota; then run the same command again",
    errno.EROFS: "use a site file in a folder that can be written",
}


class LockFile:
    """`.dsdeploy/<site>/lock`. `other` is who has it locked, None when we do."""

    def __init__(self, site: Site, owner: Owner, in_ensemble: bool) -> None:
        self._owner, self._in_ensemble = owner, in_ensemble
        self._fd = -1
        self.other: Owner | None = None
        self.other_in_ensemble = False
        with _told(site):
            self._path = _path(site)
            self._take()

    def intact(self) -> bool:
        """The file at the path still is the one that we have locked."""
        try:
            return self._fd >= 0 and os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:
            return False

    def replace(self) -> None:
        """Put a new file in place of the one that somebody else has locked, and lock that."""
        with _told_at(self._path):
            self._path.unlink(missing_ok=True)
            self.other = None
            self._take()

    def note(self, owner: Owner) -> None:
        """Best effort: the lock does not depend on what the file says."""
        self._owner = owner
        try:
            self._write()
        except OSError:
            pass

    def close(self) -> None:
        """Remove the file if it is ours. The lock ends in any case."""
        if self._fd < 0:
            return
        try:
            if self.intact():
                self._path.unlink()
        except OSError:  # an unlocked file that stays holds nothing
            pass
        os.close(self._fd)
        self._fd = -1

    def _take(self) -> None:
        for _ in range(TRIES):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = os.pread(fd, 65536, 0).decode(errors="replace")
                os.close(fd)
                self.other, self.other_in_ensemble = owners.read(text), _in_ensemble(text)
                sleep(PAUSE_SECONDS)
                continue
            except OSError:
                os.close(fd)
                raise
            self._fd = fd
            if self.intact():  # else its holder removed it between our open and our lock
                self.other = None
                try:
                    self._write()
                except OSError:
                    self.close()
                    raise
                return
            os.close(fd)
            self._fd = -1

    def _write(self) -> None:
        data = (json.dumps({**asdict(self._owner), "in_ensemble": self._in_ensemble}) + "\n").encode()
        if os.pwrite(self._fd, data, 0) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(self._fd, len(data))


def holder(site: Site) -> Owner | None:
    """Who has this computer's lock. Text left by a run that was killed holds nothing."""
    with _told(site):
        fd, text = _open_existing(_path(site))
    if fd < 0:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return owners.read(text)
    finally:
        os.close(fd)
    return None


def remove(site: Site) -> None:
    """Take the file away: its holder sees that at its next check."""
    with _told(site):
        _path(site).unlink(missing_ok=True)


def _path(site: Site) -> Path:
    return paths.work_dir(site.file, site.site) / "lock"


def _open_existing(path: Path) -> tuple[int, str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1, ""
    return fd, os.pread(fd, 65536, 0).decode(errors="replace")


def _in_ensemble(text: str) -> bool:
    try:
        return bool(json.loads(text)["in_ensemble"])
    except (ValueError, KeyError, TypeError):
        return False


def _told(site: Site) -> AbstractContextManager[None]:
    return _told_at(site.file.resolve().parent / ".dsdeploy" / site.site / "lock")


@contextmanager
def _told_at(path: Path) -> Iterator[None]:
    """A full disk or a missing permission is named as that; it never reads as "held"."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        hint = _HINTS.get(error.errno or 0, "ls -ld {folder}; then run the same command again")
        raise DsdeployError(f"cannot write the lock file: {why}", str(path), hint.format(folder=path.parent)) from error

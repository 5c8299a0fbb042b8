"""An unfinished download: ``<path>.part`` with the bytes, ``<path>.part.json`` with the tag they came under.

What an earlier run left is not believed: its header is checked first (that costs nothing), then it is hashed,
and only then continued.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Optional

from . import content
from .errors import BadFile, Finding, Refused
from .hashing import Hasher, feed
from .manifest import Entry
from .progress import Progress
from .stamp import Record
from .tree import Tree

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(Refused):
    """The disk filled up although there was room at the start: someone else writes there too."""


class Part:
    """Bytes of ``entry`` in ``staging``; use as a context manager."""

    def __init__(self, staging: Tree, entry: Entry, progress: Progress) -> None:
        self._staging = staging
        self._entry = entry
        self._progress = progress
        self._name = entry.path + ".part"
        self._examined = False
        self._hasher = Hasher()
        self.have = 0
        self.size = entry.size
        self._fd = staging.open(self._name, os.O_RDWR | os.O_CREAT)
        self.tag = self._read_tag()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._fd)

    def _read_tag(self) -> str:
        try:
            fd = self._staging.open(self._name + ".json")
        except FileNotFoundError:
            return ""
        with os.fdopen(fd, "rb") as file:
            try:
                return str(json.loads(file.read(4096))["tag"])
            except (ValueError, KeyError, TypeError):
                return ""

    def resume(self) -> None:
        """Take over what an earlier run left, if it can still become the file."""
        left = os.fstat(self._fd).st_size
        if not left:
            return
        if self.size is not None and left > self.size:
            self.restart()
            return
        try:
            self._examined = content.examine(self._fd, self._entry.path, left, self.size, complete=False)
        except BadFile:
            self.restart()
            return
        self.have = feed(self._fd, self._hasher, lambda count: self._progress.add(count, self._entry.path))

    def restart(self, tag: str = "") -> None:
        """Throw away every byte; nothing that came under another tag is ever joined to what comes now."""
        self._progress.add(-self.have, self._entry.path)
        os.ftruncate(self._fd, 0)
        self.have, self._examined, self._hasher = 0, False, Hasher()
        self.size = self._entry.size
        self.note(tag)

    def note(self, tag: str) -> None:
        self.tag = tag
        fd = self._staging.open(self._name + ".json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(fd, "w") as file:
            json.dump({"tag": tag}, file)

    def expect(self, total: Optional[int]) -> None:
        """The source announces ``total`` bytes: BadFile when the manifest promises another number."""
        if self.size is None:
            self.size = total
        elif total is not None and total != self.size:
            raise BadFile(Finding(self._entry.path, f"{self.size} bytes", f"{total} bytes", "size"))

    def append(self, data: bytes) -> None:
        if self.size is not None and self.have + len(data) > self.size:
            got = f"at least {self.have + len(data)} bytes"
            raise BadFile(Finding(self._entry.path, f"{self.size} bytes", got, "size"))
        self._write(data)
        self._hasher.update(data)
        self.have += len(data)
        self._progress.add(len(data), self._entry.path)
        if not self._examined:
            self._examined = content.examine(self._fd, self._entry.path, self.have, self.size, complete=False)

    def _write(self, data: bytes) -> None:
        view, at = memoryview(data), self.have
        try:
            while view:
                count = os.pwrite(self._fd, view, at)
                view, at = view[count:], at + count
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise self._full() from error

    def _full(self) -> DiskFull:
        left = "more bytes" if self.size is None else f"{self.size - self.have} bytes more for this file alone"
        return DiskFull(
            f"the disk is full at byte {self.have} of {self._entry.path}: needs {left}",
            str(self._staging.root),
            "free space and run it again: what is there is kept and continued",
        )

    def finish(self) -> Record:
        """Check everything, make it durable, give it its name in staging. BadFile when it is not the file."""
        content.examine(self._fd, self._entry.path, self.have, self.have, complete=True)
        sums = self._hasher.sums()
        for kind, wanted, got in (
            ("md5", self._entry.md5, sums.md5),
            ("sha256", self._entry.sha256, sums.sha256),
        ):
            if wanted and got and wanted != got:
                raise BadFile(Finding(self._entry.path, wanted, got, kind))
        try:
            os.fsync(self._fd)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise self._full() from error
        self._staging.move(self._name, self._staging, self._entry.path)
        self._staging.remove(self._name + ".json")
        return Record.of(self._entry.path, sums, os.fstat(self._fd))

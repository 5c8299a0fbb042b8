"""Where weights come from. Every source is distrusted the same way: names, sizes, hashes and content are
checked by whoever reads from it. A peer that already holds them can stand behind the same three methods.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Callable, Optional

from . import names
from .errors import Absent, Refused
from .tree import Tree


class Stream:
    """Bytes of one file from ``offset`` on; ``total`` is the whole file's size if the source says it.

    ``tag`` names this exact content at the source; a resumed transfer shows it and starts over if it differs.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        close: Callable[[], None],
        offset: int,
        total: Optional[int],
        tag: str,
    ) -> None:
        self.read = read
        self.close = close
        self.offset = offset
        self.total = total
        self.tag = tag


class Source(ABC):
    """Raises Absent (no such file), Transient (try again), Refused (do not)."""

    shown: str

    @abstractmethod
    def document(self, path: str, limit: int) -> bytes:
        """All of a small file, at most ``limit`` bytes."""

    @abstractmethod
    def size(self, path: str) -> Optional[int]:
        """Bytes of a file, or None where the source does not say."""

    @abstractmethod
    def open(self, path: str, offset: int, tag: str) -> Stream:
        """The file from ``offset`` if its content is still ``tag``, else from its beginning."""


class DirectorySource(Source):
    """A directory on the host itself, for example a network mount or a disk carried there."""

    def __init__(self, path: Path) -> None:
        self.shown = str(path)
        self._tree = Tree(path)
        if not path.is_dir():
            raise Refused(f"there is no directory {path} on this host", str(path), "mount it, or correct model.source")

    def _open(self, path: str) -> int:
        seen = self._tree.stat(path)
        if seen is None:
            raise Absent(path)
        fd = self._tree.open(path)
        if not os.path.isfile(f"/dev/fd/{fd}"):
            os.close(fd)
            raise Refused(f"{path} in the source is not a regular file", f"{self.shown}/{path}")
        return fd

    def document(self, path: str, limit: int) -> bytes:
        try:
            fd = self._open(path)
        except OSError as error:
            raise self._unreadable(path, error) from error
        with os.fdopen(fd, "rb") as file:
            return file.read(limit)

    def size(self, path: str) -> Optional[int]:
        seen = self._tree.stat(path)
        if seen is None:
            raise Absent(path)
        return seen.st_size

    def open(self, path: str, offset: int, tag: str) -> Stream:
        try:
            fd = self._open(path)
        except OSError as error:
            raise self._unreadable(path, error) from error
        seen = os.fstat(fd)
        now = f"{seen.st_ino}-{seen.st_size}-{seen.st_mtime_ns}-{seen.st_ctime_ns}"
        start = offset if tag == now and offset <= seen.st_size else 0
        os.lseek(fd, start, os.SEEK_SET)
        return Stream(lambda count: os.read(fd, count), lambda: os.close(fd), start, seen.st_size, now)

    def _unreadable(self, path: str, error: OSError) -> Refused:
        hint = "put the file itself there, not a link" if error.errno == 40 else "see that root may read it"
        return Refused(f"{path} in the source cannot be read: {error.strerror}", f"{self.shown}/{path}", hint)


def manifests(source: Source, read: Callable[[str], bytes]) -> "dict[str, bytes]":
    """The manifests the source has, name to bytes; ``read`` fetches one and raises Absent."""
    found = {}
    for name in names.MANIFESTS:
        try:
            found[name] = read(name)
        except Absent:
            continue
    if not found:
        raise Refused(
            f"no manifest at {source.shown}: looked for {', '.join(names.MANIFESTS)}",
            source.shown,
            "run 'md5sum * > MD5SUMS' where the weights were made, and publish it beside them",
        )
    return found

"""A directory reached only through its own descriptor: no symbolic link is ever followed on the way down."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, Optional, Tuple

from .files import sync_directory

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """Files below ``root``; paths given to its methods are relative and already approved by ``names``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def _parent(self, path: str, *, create: bool = False) -> Iterator[Tuple[int, str]]:
        *above, name = path.split("/")
        fd = os.open(self.root, _DIRECTORY)
        try:
            for segment in above:
                if create:
                    try:
                        os.mkdir(segment, 0o755, dir_fd=fd)
                        os.chmod(segment, 0o755, dir_fd=fd)
                    except FileExistsError:
                        pass
                below = os.open(segment, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd, name
        finally:
            os.close(fd)

    def exists(self) -> bool:
        return self.root.is_dir() and not self.root.is_symlink()

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor; with O_CREAT the file is 0644 and missing directories are made 0755."""
        create = bool(flags & os.O_CREAT)
        with self._parent(path, create=create) as (parent, name):
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644, dir_fd=parent)
        if create:
            os.fchmod(fd, 0o644)
        return fd

    def stat(self, path: str) -> Optional[os.stat_result]:
        """lstat, or None when there is nothing there."""
        try:
            with self._parent(path) as (parent, name):
                return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, path: str) -> None:
        try:
            with self._parent(path) as (parent, name):
                os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass

    def move(self, path: str, to: Tree, new: str) -> None:
        """Rename within the file system; a file already at ``new`` is replaced in the same instant."""
        with self._parent(path) as (source, old_name), to._parent(new, create=True) as (target, new_name):
            os.rename(old_name, new_name, src_dir_fd=source, dst_dir_fd=target)
            os.fsync(target)

    def scan(self) -> Dict[str, os.stat_result]:
        """lstat of everything below that is not a directory: files, links, devices, sockets."""
        found: Dict[str, os.stat_result] = {}
        for directory, names, files in os.walk(self.root, followlinks=False):
            for name in names + files:
                path = os.path.join(directory, name)
                seen = os.lstat(path)
                if not stat.S_ISDIR(seen.st_mode):
                    found[os.path.relpath(path, self.root)] = seen
        return found

    def sync(self) -> None:
        for directory, _, _ in os.walk(self.root, followlinks=False):
            sync_directory(Path(directory))

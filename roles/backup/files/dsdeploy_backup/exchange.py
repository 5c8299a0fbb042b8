"""Files and folders into their places: a whole copy beside the live one, then renames that can be taken back.

What is live is never removed: it keeps its bytes under a name of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .files import digest, remove, sync


class Exchange(NamedTuple):
    """`new` comes into the place of `live`; what is there goes to `old`, None where there is nothing."""

    new: Path
    live: Path
    old: Optional[Path]

    def said(self) -> str:
        return f"{self.live} restored" + (f" (what was there: {self.old})" if self.old else "")


def same(found: Path, live: Path) -> bool:
    """Whether two files have the same bytes, or two links the same target: then there is nothing to do."""
    if found.is_symlink() or live.is_symlink():
        return found.is_symlink() and live.is_symlink() and os.readlink(str(found)) == os.readlink(str(live))
    return found.is_file() and live.is_file() and digest(found) == digest(live)


def beside(found: Path, live: Path, like: Path) -> Path:
    """A copy on the live one's own disk, whole and on disk before anything is renamed. Folders, and what is below
    them, get the owner of `like`: on another machine a user may have another number. Raises OSError."""
    _parents(found, live)
    new = live.with_name(f".{live.name}.restored")
    remove(new)
    try:
        _copy(found, new, like)
        os.sync()
    except OSError:
        discard([new])
        raise
    return new


def exchange(new: Path, live: Path, suffix: str) -> Exchange:
    """What is to be renamed to what; nothing is yet."""
    return Exchange(new, live, _free(live, suffix) if os.path.lexists(str(live)) else None)


def swap(one: Exchange) -> None:
    """The live one aside, the new one in its place. Raises OSError; `undo` knows how far it came."""
    if one.old:
        os.replace(str(one.live), str(one.old))
    os.replace(str(one.new), str(one.live))
    sync(one.live.parent)


def undo(begun: Sequence[Exchange]) -> List[Path]:
    """Take swaps back, the last one first, however far each came. Those live ones for which that did not work."""
    left = []
    for one in reversed(begun):
        try:
            if not os.path.lexists(str(one.new)):
                os.replace(str(one.live), str(one.new))
            if one.old and os.path.lexists(str(one.old)):
                os.replace(str(one.old), str(one.live))
            sync(one.live.parent)
        except OSError:
            left.append(one.live)
    return left


def discard(copies: Sequence[Path]) -> None:
    """Remove copies that are of no use any more; one that stays is overwritten by the next restore."""
    for path in copies:
        with contextlib.suppress(OSError):
            remove(path)


def _free(live: Path, suffix: str) -> Path:
    """The first name that nothing has: `x.before-1a2b`, `x.before-1a2b.1`, …"""
    names = (live.name + suffix + (f".{number}" if number else "") for number in itertools.count())
    return next(path for path in (live.with_name(name) for name in names) if not os.path.lexists(str(path)))


def _parents(found: Path, live: Path) -> None:
    """Folders above that are not there, with the owner and mode that they had."""
    missing: List[Tuple[Path, Path]] = []
    at, like = live.parent, found.parent
    while not at.exists():
        missing.append((at, like))
        at, like = at.parent, like.parent
    for folder, source in reversed(missing):
        folder.mkdir()
        seen = source.stat()
        os.chown(str(folder), seen.st_uid, seen.st_gid)
        folder.chmod(stat.S_IMODE(seen.st_mode))


def _copy(found: Path, new: Path, like: Path) -> None:
    if found.is_dir() and not found.is_symlink():
        shutil.copytree(str(found), str(new), symlinks=True)
        for folder, _, files in os.walk(str(found)):
            at = new / os.path.relpath(folder, str(found))
            for source, target in [(Path(folder), at), *((Path(folder) / name, at / name) for name in files)]:
                _own(source, target, like)
    else:
        shutil.copy2(str(found), str(new), follow_symlinks=False)
        _own(found, new, like)


def _own(source: Path, target: Path, like: Path) -> None:
    """A folder of root's is a disk that was just mounted, and says nothing of who is to own what comes into it."""
    owner = like.stat() if like.is_dir() and like.stat().st_uid != 0 else source.lstat()
    os.chown(str(target), owner.st_uid, owner.st_gid, follow_symlinks=False)

"""Where an artefact comes to be: built beside its final place by one process at a time, then renamed."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gguf_build import seal


def partial(final: Path) -> Path:
    """The folder an artefact is built in; on the same filesystem, so that the rename is atomic."""
    return final.with_name(final.name + ".partial")


@contextmanager
def alone(final: Path) -> Iterator[Path]:
    """The empty partial folder, locked; whatever is left in it at the end is removed.

    The lock is on the folder itself, so no lock file stays behind and a killed build leaves no lock. The
    holder may rename the folder away; who waited for it then finds that it is not the partial any more.
    """
    path = partial(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    handle = _lock(path)
    try:
        _clear(path)
        yield path
    finally:
        if _is(handle, path):
            shutil.rmtree(path)
        os.close(handle)


def _lock(path: Path) -> int:
    """An open handle on the partial folder with the lock held, waiting for another build if there is one."""
    while True:
        path.mkdir(mode=0o755, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another build of {path.stem} is running; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is(handle, path):
            return handle
        os.close(handle)


def _is(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _clear(path: Path) -> None:
    """Remove what a killed build left."""
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def set_aside(final: Path) -> Path:
    """Move a damaged artefact to `<final>.damaged-<n>`, for whoever wants to know why; older ones go."""
    older = _damaged(final)
    number = max(older, default=0) + 1
    aside = final.with_name(f"{final.name}.damaged-{number}")
    final.rename(aside)
    for path in older.values():
        shutil.rmtree(path)
    return aside


def _damaged(final: Path) -> dict[int, Path]:
    prefix = f"{final.name}.damaged-"
    found = (path for path in final.parent.iterdir() if path.name.startswith(prefix))
    numbers = {path.name.removeprefix(prefix): path for path in found}
    return {int(number): path for number, path in numbers.items() if number.isdecimal()}


def publish(path: Path, final: Path) -> None:
    """Rename the finished partial into place and make it last."""
    seal.sync(path)
    path.rename(final)
    seal.sync(final.parent)

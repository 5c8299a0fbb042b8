"""SSH control sockets of one command: a private folder, and no connection that outlives the command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsdeploy import warm

_FOLDER = re.compile(r"dsd-([0-9]{1,10})-.+", re.ASCII)


@contextmanager
def connections() -> Iterator[Path]:
    """A private folder for SSH control sockets, and a warm process, shared by the plays of one command.

    It is short on purpose: a socket's path may have 104 characters at most. The masters are told to leave at
    the end, so none outlives the command; those of a command that was killed are told by the next one.
    """
    for folder in leftovers(Path(tempfile.gettempdir())):
        _close(folder)
    folder = Path(tempfile.mkdtemp(prefix=f"dsd-{os.getpid()}-"))
    try:
        with warm.kept(folder):
            yield folder
    finally:
        _close(folder)


def leftovers(root: Path) -> list[Path]:
    """Folders of this user's commands that live no more."""
    found = []
    for path in root.glob("dsd-*"):
        name = _FOLDER.fullmatch(path.name)
        # somebody else could put a folder, or a link to one, under such a name
        with suppress(OSError):
            owned = path.lstat().st_uid == os.getuid() and path.is_dir() and not path.is_symlink()
            if name and owned and not _lives(int(name.group(1))):
                found.append(path)
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _close(folder: Path) -> None:
    """Let the masters end, then remove the folder. Never raises: a command that did its work has done it."""
    with suppress(OSError):
        for socket in folder.iterdir():
            if socket.is_socket():
                words = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "dsdeploy"]
                with suppress(subprocess.TimeoutExpired):
                    subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=10)
    shutil.rmtree(folder, ignore_errors=True)

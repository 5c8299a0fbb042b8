"""A long reading that outlives the connection which asked for it: start it, ask again, fetch the answer once.

A deep verification of hundreds of gigabytes takes minutes to hours; the one who asks comes back with the same
job id until the answer is there. Asked twice for the same id, nothing is started twice.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, Callable, Dict

from .errors import Refused
from .files import read_json, write_json

_ID = re.compile(r"[0-9a-f]{8,64}\Z")
_ASK_EVERY_S = 0.1
_STALE_S = 7 * 86400


def answer(folder: Path, job: str, within_s: float, work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """What ``work`` returned, or ``{"running": True}`` when that takes longer than ``within_s`` seconds."""
    if not _ID.match(job):
        raise Refused(f"{job!r} is not a job id", hint="give 8 to 64 hex digits")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    result, started = folder / f"{job}.result", folder / f"{job}.pid"
    _forget_old(folder)
    try:
        os.close(os.open(started, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
        _start(result, started, work)
    except FileExistsError:
        pass
    deadline = time.monotonic() + within_s
    while not result.exists():
        if not _alive(started) and not result.exists():
            started.unlink()
            raise Refused("the verification ended without a result", str(started), "run it again")
        if time.monotonic() > deadline:
            return {"running": True}
        time.sleep(_ASK_EVERY_S)
    document = read_json(result)
    result.unlink()
    started.unlink()
    return document if isinstance(document, dict) else {"running": True}


def _start(result: Path, started: Path, work: Callable[[], Dict[str, Any]]) -> None:
    """Fork a process of its own session, without our files: who reads our output must see its end."""
    child = os.fork()
    if child:
        started.write_text(f"{child}\n", encoding="ascii")
        return
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        write_json(result, work())
        code = 0
    finally:
        os._exit(code)


def _alive(started: Path) -> bool:
    text = started.read_text(encoding="ascii").strip()
    if not text:  # between the creation of the file and the fork
        return time.time() - started.stat().st_mtime < 10
    try:
        done, _ = os.waitpid(int(text), os.WNOHANG)
        return done == 0
    except ChildProcessError:  # another process asks than the one that started it
        try:
            os.kill(int(text), 0)
        except ProcessLookupError:
            return False
        return True


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > _STALE_S:
            path.unlink()

"""Is a run of dsdeploy under way on this host? Its journal says so: begun, and not ended."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Iterator

STATE = Path("/var/lib/dsdeploy")
_LOCK_S = 10.0
_TAIL = 65536


def under_way(state: Path = STATE) -> str:
    """The id of the run this host saw last if it has not ended, else "". What cannot be read counts as under way."""
    try:
        words = (state / "epoch").read_text().split()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        return "whose epoch cannot be read"
    if len(words) != 2 or not words[0].isdecimal() or "/" in words[1]:
        return "that left a damaged epoch"
    try:
        with open(state / "runs" / f"{words[1]}.jsonl", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = [line for line in file.read().splitlines() if line.strip()]
    except OSError:
        return words[1]
    return "" if lines and _ends(lines[-1]) else words[1]


def quiet(run: str, state: Path = STATE) -> float:
    """Seconds since the run's journal here was written last; 0 where there is none to look at."""
    try:
        return max(0.0, time.time() - (state / "runs" / f"{run}.jsonl").stat().st_mtime)
    except OSError:
        return 0.0


def _ends(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("kind") == "end"


class Busy(Exception):
    """Somebody else holds the fence."""


@contextlib.contextmanager
def fenced(state: Path = STATE) -> Iterator[None]:
    """While this is held no run can begin here: the role `fence` waits for the same lock. Raises Busy, OSError."""
    descriptor = os.open(str(state / "fence.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Busy("a run has held the fence of this host for 10 s") from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)

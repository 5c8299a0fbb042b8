"""One backup at a time on a host, and none while dsdeploy moves requests or restarts members."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Tuple

from .decide import WAIT, compatible
from .errors import BUSY, Trouble

POLL = 2.0
_TAIL = 8192


@contextlib.contextmanager
def alone(path: Path, wait: float) -> Iterator[int]:
    """Hold the host's backup lock; its descriptor, which the children keep open too. Raises Trouble (75)."""
    descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Trouble("another backup or restore is at work on this host", str(path),
                                  f"fuser -v {path} shows it; wait for it", BUSY) from None  # fmt: skip
                time.sleep(min(POLL, max(wait / 10, 0.05)))
        yield descriptor
    finally:
        os.close(descriptor)


def last_record(runs: Path) -> Tuple[Optional[Mapping[str, Any]], float]:
    """The last whole line of the journal written last, and how many seconds ago that was."""
    try:
        newest = max(runs.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
        seen = newest.stat()
        with newest.open("rb") as stream:
            stream.seek(max(0, seen.st_size - _TAIL))
            lines = stream.read().split(b"\n")
    except (ValueError, OSError):
        return None, 0.0
    for line in reversed(lines):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value, time.time() - seen.st_mtime
    return None, 0.0


def wait_for_switch(runs: Path, wait: float, say: Callable[[str], None]) -> None:
    """Return when no run of dsdeploy is in a step that moves requests. Raises Trouble (75) after `wait` seconds."""
    deadline, told = time.monotonic() + wait, False
    while True:
        record, age = last_record(runs)
        if compatible(record, age) != WAIT:
            return
        step = (record or {}).get("step")
        if not told:
            say(f"a run of dsdeploy is in its step {step}: waiting")
            told = True
        if time.monotonic() >= deadline:
            raise Trouble(f"a run of dsdeploy is in its step {step} for too long", str(runs),
                          "dsdeploy status SITE; the next backup is made by the timer", BUSY)  # fmt: skip
        time.sleep(POLL)

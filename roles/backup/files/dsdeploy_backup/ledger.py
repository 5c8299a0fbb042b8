"""What this host knows of its snapshots: made in which order, proven or not, copied offsite as what.

The repository alone cannot tell a snapshot that was proven from one that somebody with the password added.
One JSON object a line, appended and fsynced; a line that a crash tore is dropped. A snapshot gets its line only
after it was restored and compared, so a killed run leaves no new "newest".
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Set

from .files import sync

TOLD = ("rehearsed", "verified", "checked", "offsite_checked")  # looks at what is kept: the last of each counts


@dataclass(frozen=True)
class Entry:
    """One snapshot. `sequence` orders them, the clock does not. `bad` says why it does not count any more."""

    sequence: int
    snapshot: str
    kind: str
    at: str = ""
    bytes: int = 0
    files: int = 0
    manifest: str = ""
    offsite: str = ""
    bad: str = ""
    warnings: int = 0

    @property
    def good(self) -> bool:
        return not self.bad


@dataclass(frozen=True)
class Ledger:
    """`begun` are the tokens of runs, which their snapshots carry; `fulls` counts the full ones there ever were."""

    entries: Dict[str, Entry]
    begun: Set[str]
    sequence: int
    fulls: int = 0
    told: Dict[str, Any] = field(default_factory=dict)

    def ordered(self) -> List[Entry]:
        return sorted(self.entries.values(), key=lambda entry: entry.sequence)


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read(path: Path) -> Ledger:
    """The state that the lines add up to; an empty one for a file that is not there."""
    entries: Dict[str, Entry] = {}
    begun: Set[str] = set()
    last, fulls = 0, 0
    told: Dict[str, Any] = {}
    for line in _lines(path):
        event, snapshot = line.get("event"), str(line.get("snapshot", ""))
        last = max(last, int(line.get("sequence") or 0))
        if event == "begin":
            begun.add(str(line.get("token")))
        elif event == "proven":
            known = {name: line[name] for name in Entry.__dataclass_fields__ if name in line}
            entries[snapshot] = Entry(**known)
            fulls += line.get("kind") == "full"
        elif event == "offsite" and snapshot in entries:
            entries[snapshot] = replace(entries[snapshot], offsite=str(line.get("as", "")))
        elif event == "bad" and snapshot in entries:
            entries[snapshot] = replace(entries[snapshot], bad=str(line.get("why", "bad")))
        elif event == "good" and snapshot in entries:
            entries[snapshot] = replace(entries[snapshot], bad="")
        elif event == "forgotten":
            entries.pop(snapshot, None)
        if event in TOLD:
            told[str(event)] = line
    return Ledger(entries, begun, last, fulls, told)


def append(path: Path, event: str, **values: Any) -> None:
    """One line, on disk when this returns. Raises OSError when the disk does not take all of it."""
    line = json.dumps({"event": event, "at": now(), **values}, separators=(",", ":")) + "\n"
    fresh = not path.exists()
    descriptor = os.open(str(path), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = "\n" + line
        left = line.encode("ascii")
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        sync(path.parent)


def _lines(path: Path) -> List[Dict[str, Any]]:
    found: List[Dict[str, Any]] = []
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return found
    for line in raw.split(b"\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found

"""A consistent copy of a running ZooKeeper member's data, and the proof that it is one.

ZooKeeper 3.8 has no snapshot command, and its snapshot files are fuzzy: written while transactions go on, they
are made right by replaying the log from the number in their name. So: a sealed snapshot first, then every log from
that number on, each cut after its last whole record. The logs are read after the snapshot was complete, and a
transaction is in the log when the snapshot may contain it; a snapshot younger than SETTLED seconds is passed over
for the one before, as a follower may apply what its own log has not yet got. The numbers in the copied logs must
follow each other without a gap: that is what proves that nothing is missing.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, Dict, List

from .errors import Trouble
from .zookeeper_files import Numbered, follows, listed, records, sealed, whole

SETTLED = 5.0
TRIES = 5


def copy(data: Path, log: Path, place: Path) -> Dict[str, Any]:
    """Copy a member's data below `place`, under its own paths. Its numbers. Raises Trouble when that cannot be had."""
    why = ""
    for _ in range(TRIES):  # a purge may take a file away between the list and the copy
        try:
            shutil.rmtree(str(place), ignore_errors=True)
            return _copy(data, log, place)
        except FileNotFoundError as error:
            why = f"{error.filename} went away while it was read"
    raise Trouble(f"no consistent copy of ZooKeeper's data: {why}", str(data), "systemctl status zookeeper")


def _copy(data: Path, log: Path, place: Path) -> Dict[str, Any]:
    there = data / "version-2"
    to_data, to_log = (place / str(path).lstrip("/") for path in (data, log))
    for folder in (to_data, to_log):
        (folder / "version-2").mkdir(parents=True, exist_ok=True)
    _take(data / "myid", to_data / "myid")
    if not there.is_dir():
        return {"snapshot": None, "last": None}
    snapshot = _settled(listed(there, "snapshot"))
    _take(snapshot.path, to_data / "version-2" / snapshot.path.name)
    for name in ("currentEpoch", "acceptedEpoch"):
        _take(there / name, to_data / "version-2" / name)
    logs = log / "version-2"
    for one in needed(listed(logs, "log") if logs.is_dir() else [], snapshot.zxid):
        target = to_log / "version-2" / one.path.name
        _take(one.path, target)
        os.truncate(str(target), whole(target)[2])
    return check(to_data, to_log)


def _take(path: Path, target: Path) -> None:
    if path.name in ("myid", "currentEpoch", "acceptedEpoch") and not path.exists():
        return
    shutil.copy2(str(path), str(target))
    seen = path.stat()
    os.chown(str(target), seen.st_uid, seen.st_gid)


def _settled(snapshots: List[Numbered]) -> Numbered:
    """The newest sealed snapshot that is old enough for the log to have caught up. Raises Trouble."""
    good = [one for one in reversed(snapshots) if sealed(one.path)]
    if not good:
        raise Trouble("ZooKeeper's data has no whole snapshot", str(snapshots[-1].path if snapshots else ""),
                      "its member writes one when it starts: systemctl status zookeeper")  # fmt: skip
    for one in good:
        if abs(time.time() - one.path.stat().st_mtime) >= SETTLED:
            return one
    time.sleep(SETTLED)
    return good[-1]


def needed(logs: List[Numbered], zxid: int) -> List[Numbered]:
    """The log that holds what comes after `zxid`, and all later ones."""
    before = [one.zxid for one in logs if one.zxid <= zxid]
    floor = max(before) if before else 0
    return [one for one in logs if one.zxid >= floor]


def check(data: Path, log: Path) -> Dict[str, Any]:
    """Numbers of a copy: its snapshot's, and the last transaction behind that. Raises Trouble if it has a gap or a
    byte is wrong."""
    snapshots = listed(data / "version-2", "snapshot")
    if len(snapshots) != 1 or not sealed(snapshots[0].path):
        raise Trouble("the copy of ZooKeeper's data has no whole snapshot", str(data))
    at = snapshots[0].zxid
    for one in listed(log / "version-2", "log"):
        if whole(one.path)[2] != one.path.stat().st_size:
            raise Trouble("a transaction log is damaged in the middle", str(one.path))
        at = _chain(one.path, at)
    return {"snapshot": "%x" % snapshots[0].zxid, "last": "%x" % at}


def _chain(path: Path, at: int) -> int:
    """The last transaction of a log that goes on from `at`. Raises Trouble where one is missing."""
    with path.open("rb") as stream:
        for zxid, _ in records(stream):
            if zxid <= at:
                continue
            if not follows(at, zxid):
                raise Trouble("the transaction log has a gap: %x comes after %x" % (zxid, at), str(path))
            at = zxid
    return at

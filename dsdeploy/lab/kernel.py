"""Kernel settings that a lab's machines share with this computer: remembered before, put back after.

A machine of the lab may write THP and hugepages for real; there is one kernel, so this computer would
keep them. The note lies in /run, where it is forgotten together with the settings at the next boot.
"""

from __future__ import annotations

import json
from pathlib import Path

NOTE = Path("/run/dsdeploy-lab-kernel.json")
_THP = "sys/kernel/mm/transparent_hugepage"
PATTERNS = (
    f"{_THP}/enabled", f"{_THP}/defrag", f"{_THP}/shmem_enabled", f"{_THP}/khugepaged/defrag",
    f"{_THP}/hugepages-*kB/enabled",
    "sys/kernel/mm/hugepages/hugepages-*kB/nr_hugepages",
    "sys/kernel/mm/hugepages/hugepages-*kB/nr_overcommit_hugepages",
    "proc/sys/vm/swappiness", "proc/sys/vm/max_map_count", "proc/sys/vm/overcommit_memory",
    "proc/sys/vm/overcommit_ratio",
    "proc/sys/kernel/pid_max", "proc/sys/fs/file-max", "proc/sys/fs/nr_open", "proc/sys/fs/aio-max-nr",
    "proc/sys/fs/inotify/max_user_instances", "proc/sys/fs/inotify/max_user_watches",
)  # fmt: skip

LEAST = {"proc/sys/fs/inotify/max_user_instances": 1024, "proc/sys/fs/inotify/max_user_watches": 131072}


def remember(note: Path = NOTE, root: Path = Path("/")) -> bool:
    """Write the values down, unless a lab has already; False where this computer does not allow it."""
    if note.exists():
        return True
    try:
        note.write_text(json.dumps(values(root)))
    except OSError:  # docker without root: the machines are not root on the kernel's files either
        return False
    return True


def widen(root: Path = Path("/")) -> None:
    """Room for several labs: each systemd takes about six inotify instances, and ends at once where none is left.

    Many kernels give all of root's programs 128 together. `put_back` restores what was there.
    """
    for name, least in LEAST.items():
        path = root / name
        try:
            if int(path.read_text()) < least:
                path.write_text(str(least))
        except (OSError, ValueError):
            continue  # not ours to raise here; the machine that does not start will say so


def put_back(note: Path = NOTE) -> list[str]:
    """Restore what has changed since, forget the note; returns `path: from -> to` of each."""
    try:
        before: dict[str, str] = json.loads(note.read_text())
    except (OSError, ValueError):
        return []
    done = []
    for name, value in before.items():
        path = Path(name)
        try:
            now = chosen(path.read_text())
            if now != value:
                path.write_text(value)
                done.append(f"{name}: {now} -> {value}")
        except OSError:
            continue  # the setting is gone or may not be written: nothing of ours is in it
    note.unlink()
    return done


def values(root: Path) -> dict[str, str]:
    """path -> value, of the settings this kernel has."""
    found = (path for pattern in PATTERNS for path in sorted(root.glob(pattern)))
    return {str(path): chosen(path.read_text()) for path in found}


def chosen(text: str) -> str:
    """`always [madvise] never` says madvise; anything else says itself."""
    start, end = text.find("["), text.find("]")
    return text[start + 1 : end] if 0 <= start < end else text.strip()

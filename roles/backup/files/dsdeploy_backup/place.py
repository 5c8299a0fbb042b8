"""Proven files into their places: a copy beside the live one, the live one aside, the copy under its name."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Tuple

from .config import Config
from .errors import Trouble
from .files import digest, remove, sync
from .stage import SETS, sets


def units(document: Dict[str, Any], names: List[str]) -> List[str]:
    """What runs on the files of these sets, where it runs."""
    return list(dict.fromkeys(unit for name in names for unit in document["sets"][name].get("services", [])))


def running(document: Dict[str, Any], names: List[str]) -> List[str]:
    """Those of them that run now."""
    return [unit for unit in units(document, names) if _systemctl("is-active", "--quiet", unit) == 0]


def start(config: Config, name: str) -> Dict[str, Any]:
    """Start what runs on a set's files. Raises Trouble."""
    found = next((one for one in sets(config.sets) if one["name"] == name), None)
    if found is None:
        raise Trouble(f"no set {name} on this host", str(config.sets))
    return {"ok": True, "host": config.host, "messages": _started(found.get("services", []))}


def _started(names: List[str]) -> List[str]:
    for unit in names:
        _systemctl("reset-failed", unit)
        if _systemctl("start", unit) != 0:
            raise Trouble(f"{unit} does not start", unit, f"journalctl -u {unit}; what was there is kept beside")
    return [f"{unit} started" for unit in names]


def _systemctl(*words: str) -> int:
    try:
        return subprocess.run(["systemctl", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False, timeout=180).returncode  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return 255


def in_place(scratch: Path, document: Dict[str, Any], names: List[str], services: List[str], after: List[str],
             identity: str) -> List[str]:  # fmt: skip
    """Stop `services`, exchange the files, start `after`. What was done, a line each. Raises Trouble and OSError."""
    suffix = f".before-{identity[:8]}"
    pairs: List[Tuple[Path, Path]] = []
    kept: List[str] = []
    for name in names:
        part, place = document["sets"][name], scratch / SETS / name
        member = part.get("zookeeper", {})
        roots = [str(member[key]) for key in ("data", "log")] if member.get("data") else []
        for root in roots or sorted(part["files"]):
            if root in part.get("higher", []) and _number(place / root.lstrip("/")) < _number(Path(root)):
                kept.append(f"{root} stays: it says a higher number than the snapshot")
            elif os.path.lexists(str(place / root.lstrip("/"))):
                pairs.append((_beside(place / root.lstrip("/"), Path(root)), Path(root)))
    for unit in services:
        if _systemctl("stop", unit) != 0:
            raise Trouble(f"{unit} cannot be stopped; nothing was changed", unit, f"systemctl status {unit}")
    done = [_swap(new, live, suffix) for new, live in pairs]
    return kept + [line for line in done if line] + _started(after)


def _number(path: Path) -> int:
    """The number a file begins with; -1 where there is none."""
    try:
        return int(path.read_text(encoding="ascii", errors="replace").split()[0])
    except (OSError, ValueError, IndexError):
        return -1


def _beside(found: Path, live: Path) -> Path:
    """A copy on the live one's own disk, whole and on disk before anything is renamed."""
    _parents(found, live)
    new = live.with_name(f".{live.name}.restored")
    remove(new)
    try:
        _copy(found, new, live)
        os.sync()
    except OSError:
        remove(new)
        raise
    return new


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


def _copy(found: Path, new: Path, live: Path) -> None:
    """A folder gets the owner that the live one has: on another machine a user may have another number."""
    if found.is_dir() and not found.is_symlink():
        shutil.copytree(str(found), str(new), symlinks=True)
        for folder, _, files in os.walk(str(found)):
            at = new / os.path.relpath(folder, str(found))
            for source, target in [(Path(folder), at), *((Path(folder) / name, at / name) for name in files)]:
                owner = live.lstat() if live.is_dir() else source.lstat()
                os.chown(str(target), owner.st_uid, owner.st_gid, follow_symlinks=False)
    else:
        shutil.copy2(str(found), str(new), follow_symlinks=False)
        owner = found.lstat()
        os.chown(str(new), owner.st_uid, owner.st_gid, follow_symlinks=False)


def _swap(new: Path, live: Path, suffix: str) -> str:
    """Rename: the old one aside, the new one in its place. "" for a file that was the same."""
    if new.is_file() and live.is_file() and not live.is_symlink() and digest(new) == digest(live):
        remove(new)
        return ""
    kept = ""
    if os.path.lexists(str(live)):
        old = live.with_name(live.name + suffix)
        if os.path.lexists(str(old)):
            remove(live)  # an earlier try of the same restore kept the original already
        else:
            os.replace(str(live), str(old))
        kept = f" (what was there: {old})"
    os.replace(str(new), str(live))
    sync(live.parent)
    return f"{live} restored{kept}"

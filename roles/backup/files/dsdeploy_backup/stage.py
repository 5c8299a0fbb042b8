"""Everything that is backed up, copied into one private folder with a list of what it should be.

A set is a file in /etc/dsdeploy/backup.d, so that a later role adds its own: {"name", "paths": [globs],
"exclude": [globs], "services": [units], "higher": [paths], "by_name": bool} or {"name", "zookeeper": {"data",
"log"}, …}. A restore in place keeps a path of `higher` that says a higher number, and all that exists of a set that is
`by_name`, unless that set was asked for. Files are copied first, so that what is encrypted and what is in the list are
the same bytes, whatever happens to the originals meanwhile.
"""

from __future__ import annotations

import fnmatch
import glob
import json
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any, Dict, Iterator, List

from . import zookeeper
from .config import Config
from .errors import Trouble
from .files import digest, empty, put

MANIFEST = "manifest.json"
SETS = "sets"
LEDGER = "ledger"  # the set with this host's own list of snapshots: never put in the place of one that is there
TRIES = 3
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")


def sets(folder: Path) -> List[Dict[str, Any]]:
    """What is backed up here, by name. Raises Trouble for a file that is not a set."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            one = json.loads(path.read_text(encoding="utf-8"))
            if not _NAME.fullmatch(one["name"]) or not ("zookeeper" in one or isinstance(one["paths"], list)):
                raise ValueError("no name, or nothing to back up")
            if one["name"] in [other["name"] for other in found]:
                raise ValueError("another file has the same name in it")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Trouble(f"not a set of files to back up: {error}", str(path), f"mend or remove {path}") from error
        found.append(one)
    return found


def stage(config: Config, sequence: int, kind: str) -> Dict[str, Any]:
    """Fill the staging folder; the manifest, as it lies there. Raises Trouble and OSError."""
    root = empty(config.staging)
    document: Dict[str, Any] = {
        "version": 1, "site": config.site, "host": config.host, "sequence": sequence, "kind": kind,
        "sets": {}, "warnings": [],
    }  # fmt: skip
    for one in sets(config.sets):
        place = root / SETS / one["name"]
        place.mkdir(parents=True)
        about: Dict[str, Any] = {"services": one.get("services", []), "higher": one.get("higher", []),
                                 "by_name": bool(one.get("by_name"))}  # fmt: skip
        if "zookeeper" in one:
            where = {name: Path(one["zookeeper"][name]) for name in ("data", "log")}
            if where["data"].is_dir():
                about["zookeeper"] = zookeeper.copy(where["data"], where["log"], place)
                about["zookeeper"].update({name: str(path) for name, path in where.items()})
        else:
            for path in _files(one["paths"], [*one.get("exclude", []), str(config.secrets), str(config.secrets / "*")]):
                _take(path, place, document["warnings"])
        _folders(place)
        document["sets"][one["name"]] = {**about, "files": described(place)}
    put(root / MANIFEST, json.dumps(document, sort_keys=True, indent=1) + "\n")
    return document


def _files(paths: List[str], exclude: List[str]) -> Iterator[Path]:
    """Files and links below these patterns, each once, without those excluded. Links are not followed."""
    seen = set()
    for pattern in paths:
        for start in sorted(glob.glob(pattern)):
            found = [start]
            if os.path.isdir(start) and not os.path.islink(start):
                found = [
                    os.path.join(folder, name)
                    for folder, folders, files in os.walk(start)
                    for name in [*files, *(one for one in folders if os.path.islink(os.path.join(folder, one)))]
                ]
            for path in sorted(found):
                if path not in seen and not any(fnmatch.fnmatch(path, one) for one in exclude):
                    seen.add(path)
                    yield Path(path)


def _take(path: Path, place: Path, warnings: List[str]) -> None:
    """Copy one file; one that changes while it is read is read again, one that vanishes is noted."""
    target = place / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.is_symlink():
            os.symlink(os.readlink(str(path)), str(target))
            return
        for _ in range(TRIES):
            before = path.stat()
            if not stat.S_ISREG(before.st_mode):
                return
            shutil.copy2(str(path), str(target))
            after = path.stat()
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                break
        else:
            warnings.append(f"{path} changed while it was read")
        os.chown(str(target), before.st_uid, before.st_gid)
    except FileNotFoundError:
        warnings.append(f"{path} vanished while it was read")


def _folders(place: Path) -> None:
    """Folders get owner and mode of the originals: where a whole one was lost, it comes back as it was."""
    for folder, _, _ in os.walk(str(place)):
        original = "/" + os.path.relpath(folder, str(place))
        if folder != str(place) and os.path.isdir(original):
            seen = os.stat(original)
            os.chown(folder, seen.st_uid, seen.st_gid)
            os.chmod(folder, stat.S_IMODE(seen.st_mode))


def described(place: Path) -> Dict[str, Dict[str, Any]]:
    """Original path -> what the copy is: digest, size, mode, owner; or where a link leads."""
    found: Dict[str, Dict[str, Any]] = {}
    for folder, folders, files in os.walk(str(place)):
        for name in sorted([*files, *folders]):
            path = Path(folder) / name
            original = "/" + str(path.relative_to(place))
            if path.is_symlink():
                found[original] = {"link": os.readlink(str(path))}
            elif path.is_file():
                seen = path.stat()
                found[original] = {
                    "sha256": digest(path), "size": seen.st_size, "mode": "%04o" % stat.S_IMODE(seen.st_mode),
                    "uid": seen.st_uid, "gid": seen.st_gid,
                }  # fmt: skip
    return found

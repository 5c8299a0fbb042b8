"""The proof of a snapshot: restored into a scratch folder, and every file compared with what was staged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

from . import zookeeper
from .errors import Mismatch, Trouble
from .files import digest, empty, remove
from .restic import Repository
from .stage import MANIFEST, SETS, described


def restored(repository: Repository, snapshot: str, into: Path) -> Path:
    """All of a snapshot in an emptied folder. Raises Trouble when restic cannot give every byte."""
    empty(into)
    code, said, wrong = repository.call(("restore", snapshot, "--target", str(into)))
    if code != 0 or "ignoring error" in wrong or "There were" in wrong:
        raise repository.trouble(("restore",), code, said, wrong)
    return into


def manifest(folder: Path) -> Dict[str, Any]:
    """The list that came with a snapshot. Raises Mismatch when there is none."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if document["version"] != 1 or not isinstance(document["sets"], dict):
            raise ValueError("another version")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Mismatch(f"the snapshot has no list of what is in it: {error}", str(folder)) from error
    return document  # type: ignore[no-any-return]


def compare(folder: Path, site: str, host: str, wanted: str = "") -> Dict[str, Any]:
    """The manifest, once every file in `folder` is what it says, and it is the one (by digest) that was staged.

    Raises Mismatch naming the first files that are not, and when it is another site's or host's snapshot.
    """
    found = manifest(folder)
    if wanted and digest(folder / MANIFEST) != wanted:
        raise Mismatch("the snapshot's list is not the one that was made for it", str(folder))
    if (found.get("site"), found.get("host")) != (site, host):
        raise Mismatch(f"the snapshot is of {found.get('host')} of {found.get('site')}, not of {host} of {site}")
    wrong: List[str] = []
    for name, part in found["sets"].items():
        place = folder / SETS / name
        there = described(place) if place.is_dir() else {}
        wrong += [path for path in sorted({*part["files"], *there}) if part["files"].get(path) != there.get(path)]
        member = part.get("zookeeper", {})
        if member.get("snapshot"):
            try:
                zookeeper.check(*(place / str(member[name]).lstrip("/") for name in ("data", "log")))
            except Trouble as error:
                raise Mismatch(error.what, error.where, error.hint) from error
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise Mismatch(f"not what was backed up: {', '.join(wrong[:3])}{more}", str(folder))
    return found


def proven(
    repository: Repository, snapshot: str, scratch: Path, site: str, host: str, wanted: str = ""
) -> Dict[str, Any]:
    """Restore, compare, and leave nothing behind. The manifest. Raises Trouble."""
    try:
        return compare(restored(repository, snapshot, scratch), site, host, wanted)
    finally:
        remove(scratch)

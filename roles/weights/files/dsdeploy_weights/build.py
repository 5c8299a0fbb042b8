"""Builds on this host, compared with the build.json each was finished with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List

from . import stamp
from .errors import Finding, Refused
from .manifest import Entry
from .names import is_identifier, objection
from .progress import Progress
from .stamp import Stamp
from .survey import each, glance, reread
from .tree import Tree

ASIDE = re.compile(r".*\.damaged-[0-9]+")


def verify_all(root: Path, state: Path, *, deep: bool, threads: int = 4) -> List[Dict[str, Any]]:
    """One result for each finished build below ``root``, without those that a repair put aside; untouched files are
    not read again."""
    results = []
    for directory in sorted(root.iterdir()) if root.is_dir() else []:
        if not is_identifier(directory.name) or ASIDE.fullmatch(directory.name):
            continue
        if not (directory / "build.json").exists():
            continue
        try:
            results.append(verify(directory, state, deep=deep, threads=threads))
        except Refused as error:
            finding = Finding("build.json", "a list of the build's files", error.what, "build")
            results.append(_result(directory, 0, [finding]))
    return results


def verify(directory: Path, state: Path, *, deep: bool, threads: int = 4) -> Dict[str, Any]:
    """Compare one build with its build.json; ``state`` holds what is remembered of earlier readings."""
    wanted = _entries(directory / "build.json")
    memory = state / "builds" / f"{directory.name}.json"
    tree = Tree(directory)
    look = glance(tree, stamp.load(memory), frozenset(wanted) if deep else frozenset())
    trusted = {path: r for path, r in look.trusted.items() if path in wanted and r.matches(wanted[path])}
    seen = tree.scan()
    doubtful = [entry for path, entry in wanted.items() if path in seen and path not in trusted]
    good, bad = each(doubtful, threads, lambda entry: reread(tree, entry, Progress(None, "verify")))
    bad += [Finding(path, "the file", "no such file", "missing") for path in wanted if path not in seen]
    if doubtful:
        memory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        records = tuple({**trusted, **good}.values())
        stamp.save(memory, Stamp("build", directory.name, str(directory), stamp.now(), records))
    return _result(directory, len(doubtful), bad)


def _result(directory: Path, read: int, problems: List[Finding]) -> Dict[str, Any]:
    return {
        "build": directory.name,
        "where": str(directory),
        "ok": not problems,
        "read": read,
        "problems": [vars(problem) for problem in problems],
    }


def _entries(path: Path) -> Dict[str, Entry]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        items = [(item["path"], item["size"], item["sha256"]) for item in document["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused("missing or damaged", str(path), "build it again: dsdeploy up") from error
    for name, size, digest in items:
        if not isinstance(name, str) or objection(name) or not isinstance(size, int) or not isinstance(digest, str):
            raise Refused(f"an entry that makes no sense: {name!a}", str(path))
    return {name: Entry(name, size, "", digest.lower()) for name, size, digest in items}

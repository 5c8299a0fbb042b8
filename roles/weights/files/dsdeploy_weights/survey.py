"""What is on the disk, compared with what was verified: without reading a byte, and then by reading."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import AbstractSet, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

from . import content
from .errors import BadFile, Finding
from .hashing import Hasher, feed
from .manifest import Entry
from .progress import Progress
from .stamp import Record, Stamp
from .tree import Tree


@dataclass(frozen=True)
class Glance:
    """One look at a directory against its stamp: paths by what must be done about them."""

    trusted: Dict[str, Record]
    touched: Tuple[str, ...]
    missing: Tuple[str, ...]
    extra: Tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        return not (self.touched or self.missing or self.extra)


def glance(tree: Tree, stamp: Optional[Stamp], distrust: AbstractSet[str] = frozenset()) -> Glance:
    """Compare by stat alone; ``distrust`` are paths to read again whatever their stat says."""
    records = stamp.by_path() if stamp else {}
    found = tree.scan() if tree.exists() else {}
    trusted, touched = {}, []
    for path, seen in found.items():
        record = records.get(path)
        if record and stat.S_ISREG(seen.st_mode) and record.untouched(seen) and path not in distrust:
            trusted[path] = record
        elif record and stat.S_ISREG(seen.st_mode):
            touched.append(path)
    extra = [_stray(path, seen) for path, seen in found.items() if path not in trusted and path not in touched]
    missing = sorted(set(records) - set(found))
    return Glance(trusted, tuple(sorted(touched)), tuple(missing), tuple(sorted(extra, key=lambda f: f.path)))


def _stray(path: str, seen: os.stat_result) -> Finding:
    if stat.S_ISLNK(seen.st_mode):
        return Finding(path, "a regular file or nothing", "a symbolic link", "symlink")
    if not stat.S_ISREG(seen.st_mode):
        return Finding(path, "a regular file or nothing", "a device, pipe or socket", "special")
    return Finding(path, "nothing: no manifest lists it", f"a file of {seen.st_size} bytes", "extra")


def reread(tree: Tree, entry: Entry, progress: Progress) -> Record:
    """Read one file and compare it with ``entry``; the cheap checks come first. BadFile when it differs."""
    fd = tree.open(entry.path)
    try:
        before = os.fstat(fd)
        if entry.size not in (None, before.st_size):
            raise BadFile(Finding(entry.path, f"{entry.size} bytes", f"{before.st_size} bytes", "size"))
        content.examine(fd, entry.path, before.st_size, before.st_size, complete=True)
        hasher = Hasher()
        feed(fd, hasher, lambda count: progress.add(count, entry.path))
        sums = hasher.sums()
        for kind, wanted, got in (("md5", entry.md5, sums.md5), ("sha256", entry.sha256, sums.sha256)):
            if wanted and got and wanted != got:
                raise BadFile(Finding(entry.path, wanted, got, kind))
        # The identity from before the reading: a write during it must not be covered by this record.
        return Record.of(entry.path, sums, before)
    finally:
        os.close(fd)


def each(
    entries: Iterable[Entry], threads: int, work: Callable[[Entry], Record]
) -> Tuple[Dict[str, Record], List[Finding]]:
    """``work`` on every entry, in threads: the records of the good, the findings of the bad."""
    good: Dict[str, Record] = {}
    bad: List[Finding] = []

    def one(entry: Entry) -> None:
        try:
            good[entry.path] = work(entry)
        except BadFile as error:
            bad.append(error.finding)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(one, entries):
            pass
    return good, sorted(bad, key=lambda finding: finding.path)


def expected(records: Mapping[str, Record]) -> Dict[str, Entry]:
    """What each file was when it was verified, as an entry to compare with."""
    return {path: Entry(path, record.size, record.md5, record.sha256) for path, record in records.items()}

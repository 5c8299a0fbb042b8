"""Make a version whole: keep the good, read the doubtful again, fetch the rest, then give it its name."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass, field
from typing import Dict, FrozenSet, List, Optional, Sequence, Tuple

from . import room, shards, stamp
from .errors import Absent, BadFile, Finding, Refused
from .fetch import Fetcher, retried
from .files import sync_directory
from .layout import Layout
from .limits import Limits
from .manifest import Entry
from .names import RESERVED
from .part import DiskFull
from .progress import Progress
from .source import Source
from .stamp import Record, Stamp
from .survey import Glance, each, glance, reread
from .tree import Tree


def sizes_to_come(entries: Sequence[Entry], source: Source, limits: Limits, staging: Tree) -> List[int]:
    """Bytes still to be written for each entry, less what its unfinished part holds."""

    def fill(entry: Entry) -> Record:
        size = entry.size
        if size is None:
            try:
                size = retried(source, limits, lambda: source.size(entry.path))
            except (Absent, Refused):
                size = None  # fetching it will say what is wrong
        part = staging.stat(entry.path + ".part") if staging.exists() else None
        return Record(entry.path, max(0, (size or 0) - (part.st_size if part else 0)), "", "", 0, 0, 0, 0)

    good, _ = each(entries, limits.threads * 2, fill)
    return [record.size for record in good.values()]


@dataclass
class Assembly:
    """One pull's work on disk, under the lock."""

    layout: Layout
    source: Source
    limits: Limits
    entries: Tuple[Entry, ...]
    progress: Progress
    live: Tree = field(init=False)
    staging: Tree = field(init=False)
    _staged: Dict[str, Record] = field(default_factory=dict)
    _wanted: FrozenSet[str] = frozenset()
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.live = Tree(self.layout.live)
        self.staging = Tree(self.layout.staging)

    def run(self, look: Glance) -> Tuple[Stamp, Tuple[str, ...]]:
        """The stamp of the whole version and the paths that were fetched or refetched."""
        kept = self._keep_live(look)
        rest = [entry for entry in self.entries if entry.path not in kept]
        if rest:
            self._stage(rest)
        self._check_indexes(kept)
        records = self._promote(kept)
        whole = self._stamp(records)
        stamp.save(self.layout.stamp, whole)
        self.layout.journal.unlink() if self.layout.journal.exists() else None
        return whole, tuple(sorted(self._staged))

    def _stamp(self, records: Dict[str, Record]) -> Stamp:
        ordered = tuple(records[path] for path in sorted(records))
        return Stamp(self.layout.model, self.layout.version, self.source.shown, stamp.now(), ordered)

    def _keep_live(self, look: Glance) -> Dict[str, Record]:
        """Records of the right files under the final name, reading those that are not trusted."""
        by_path = {entry.path: entry for entry in self.entries}
        kept = {p: r for p, r in look.trusted.items() if p in by_path and r.matches(by_path[p])}
        there = self.live.scan() if self.live.exists() else {}
        doubtful = [entry for entry in self.entries if entry.path in there and entry.path not in kept]
        good, _ = self._reread(self.live, doubtful, there)
        return {**kept, **good}

    def _reread(
        self, tree: Tree, entries: List[Entry], there: Dict[str, os.stat_result]
    ) -> Tuple[Dict[str, Record], List[Finding]]:
        self.progress.expect(sum(there[entry.path].st_size for entry in entries))
        return each(entries, self.limits.threads, lambda entry: reread(tree, entry, self.progress))

    def _stage(self, rest: List[Entry]) -> None:
        """Have every entry of ``rest`` verified in staging; Refused lists each that cannot be had."""
        self._wanted = frozenset(entry.path for entry in rest)
        self._tidy(rest)
        known = stamp.load(self.layout.journal)
        look = glance(self.staging, known)
        by_path = {entry.path: entry for entry in rest}
        self._staged = {p: r for p, r in look.trusted.items() if p in by_path and r.matches(by_path[p])}
        there = self.staging.scan()
        doubtful = [entry for entry in rest if entry.path in there and entry.path not in self._staged]
        good, _ = self._reread(self.staging, doubtful, there)
        self._staged.update(good)
        absent = [entry for entry in rest if entry.path not in self._staged]
        sizes = sizes_to_come(absent, self.source, self.limits, self.staging)
        room.check(self.layout.staging, sizes)
        self.progress.expect(sum(sizes))
        # An index first: if it names shards nobody lists, hundreds of gigabytes need not travel to find out.
        self._fetch([entry for entry in absent if shards.is_index(entry.path)])
        self._check_listing()
        self._fetch([entry for entry in absent if not shards.is_index(entry.path)])

    def _tidy(self, rest: List[Entry]) -> None:
        """Staging is ours alone: what does not belong to this manifest goes."""
        if not self.layout.staging.exists():
            self.layout.staging.mkdir(mode=0o755)
            self.layout.staging.chmod(0o755)
        wanted = {entry.path + suffix for entry in rest for suffix in ("", *RESERVED)}
        for path, seen in self.staging.scan().items():
            if path not in wanted or not stat.S_ISREG(seen.st_mode):
                self.staging.remove(path)

    def _fetch(self, entries: List[Entry]) -> None:
        fetcher = Fetcher(self.source, self.staging, self.limits, self.progress)

        def one(entry: Entry) -> Record:
            try:
                record = fetcher.fetch(entry)
            except BadFile:
                raise
            except BaseException as error:
                fetcher.stop.set(error)
                raise
            with self._mutex:
                self._staged[entry.path] = record
                stamp.save(self.layout.journal, self._stamp(self._staged))
            return record

        try:
            _, bad = each(entries, self.limits.threads, one)
        except DiskFull as error:
            left = [entry for entry in self.entries if entry.path in self._wanted - set(self._staged)]
            more = room.spoken(sum(sizes_to_come(left, self.source, self.limits, self.staging)))
            error.hint = f"free {more} there and run it again: what is there is kept and continued"
            raise
        if bad:
            raise Refused(
                f"{len(bad)} of {len(self.entries)} files are not what the manifest says, "
                f"after {self.limits.bad_tries} tries each",
                str(self.layout.staging),
                f"repair them at {self.source.shown} and run it again; the good files are kept",
                bad,
            )

    def _open(self, path: str) -> int:
        return (self.staging if path in self._staged else self.live).open(path)

    def _check_listing(self) -> None:
        listed = [entry.path for entry in self.entries]
        found = [f for p in listed if shards.is_index(p) for f in shards.unlisted(p, listed, self._open)]
        self._refuse(found)

    def _check_indexes(self, kept: Dict[str, Record]) -> None:
        if self._staged or not kept:
            indexes = [entry.path for entry in self.entries if shards.is_index(entry.path)]
            self._refuse([finding for index in indexes for finding in shards.disagreements(index, self._open)])

    def _refuse(self, found: List[Finding]) -> None:
        if found:
            hint = "make index, manifest and shards agree where they are published"
            raise Refused("the index and the shards disagree", self.source.shown, hint, found)

    def _promote(self, kept: Dict[str, Record]) -> Dict[str, Record]:
        """Staging becomes the version in one rename; in a version that exists, single files are replaced."""
        if not self._staged:
            return kept
        self.staging.sync()
        moved: Dict[str, Record] = dict(self._staged)
        if not self.live.exists():
            os.rename(self.layout.staging, self.layout.live)
        else:
            for path, record in self._staged.items():
                self.staging.move(path, self.live, path)
                moved[path] = _restat(record, self.live.stat(path))
            self._drop_staging()
        sync_directory(self.layout.live.parent)
        return {**kept, **moved}

    def _drop_staging(self) -> None:
        for path in self.staging.scan():
            self.staging.remove(path)
        for directory, _, _ in os.walk(self.layout.staging, topdown=False):
            os.rmdir(directory)


def _restat(record: Record, seen: Optional[os.stat_result]) -> Record:
    """A rename changes ctime; the content is the one just verified."""
    if seen is None:
        raise Refused(f"{record.path} vanished while it was put in place")
    return Record(
        record.path,
        record.size,
        record.md5,
        record.sha256,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        seen.st_ino,
        seen.st_dev,
    )

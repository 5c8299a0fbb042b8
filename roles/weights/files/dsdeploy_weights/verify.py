"""Read again what this host holds, and say which files are not what was verified when they came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Mapping, Optional

from . import lock, stamp
from .errors import Finding
from .layout import Layout
from .progress import Progress
from .stamp import Record, Stamp
from .survey import each, expected, glance, reread
from .tree import Tree


@dataclass(frozen=True)
class Verify:
    """``quick`` looks at stat only; otherwise touched files are read, and all of them when ``deep``."""

    layout: Layout
    quick: bool = False
    deep: bool = False
    only: FrozenSet[str] = frozenset()
    threads: int = 4
    wait_s: float = 86400.0

    def run(self) -> Dict[str, Any]:
        """The result document, with ``problems``; the stamp is brought up to date unless ``quick``."""
        if self.quick or not self.layout.stamp.parent.is_dir():
            return self._quick()
        with lock.held(self.layout.lock, self.wait_s):
            progress = Progress(self.layout.progress, "verify")
            try:
                return self._read(progress)
            finally:
                progress.close()

    def _known(self) -> Optional[Stamp]:
        return stamp.load(self.layout.stamp)

    def _quick(self) -> Dict[str, Any]:
        known = self._known()
        if known is None:
            return self._unverified()
        look = glance(Tree(self.layout.live), known)
        touched = [Finding(path, "untouched since it was verified", "touched", "touched") for path in look.touched]
        missing = [Finding(path, "the file", "no such file", "missing") for path in look.missing]
        return self._document(known, [*touched, *missing, *look.extra], 0)

    def _read(self, progress: Progress) -> Dict[str, Any]:
        known = self._known()
        if known is None:
            return self._unverified()
        distrust = frozenset(known.by_path()) if self.deep else self.only
        tree = Tree(self.layout.live)
        look = glance(tree, known, distrust)
        records = known.by_path()
        doubtful = [expected(records)[path] for path in look.touched if not self.only or path in self.only]
        progress.expect(sum(records[entry.path].size for entry in doubtful))
        good, bad = each(doubtful, self.threads, lambda entry: reread(tree, entry, progress))
        missing = [Finding(path, "the file", "no such file", "missing") for path in look.missing]
        self._update(known, good, [*bad, *missing])
        return self._document(known, [*bad, *missing, *look.extra], len(doubtful))

    def _update(self, known: Stamp, good: Mapping[str, Record], bad: List[Finding]) -> None:
        """A bad file keeps its hashes in the stamp, to be repaired by, but is never trusted by stat again."""
        spoilt = {finding.path for finding in bad}
        records = []
        for record in known.records:
            record = good.get(record.path, record)
            records.append(record.distrusted() if record.path in spoilt else record)
        if tuple(records) != known.records:
            stamp.save(self.layout.stamp, known.with_records(records))

    def _unverified(self) -> Dict[str, Any]:
        finding = Finding(self.layout.version, "a verified copy", "none was ever verified here", "unverified")
        return {**self._names(), "ok": False, "read": 0, "digest": "", "problems": [vars(finding)]}

    def _names(self) -> Dict[str, Any]:
        return {"model": self.layout.model, "version": self.layout.version, "where": str(self.layout.live)}

    def _document(self, known: Stamp, problems: List[Finding], read: int) -> Dict[str, Any]:
        return {
            **self._names(),
            "ok": not problems,
            "digest": known.digest,
            "files": len(known.records),
            "bytes": known.bytes,
            "read": read,
            "verified_at": known.verified_at,
            "problems": [vars(problem) for problem in problems],
        }

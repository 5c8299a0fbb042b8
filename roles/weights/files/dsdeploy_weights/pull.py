"""Bring one version of the weights to this host, or say exactly why not.

Nothing becomes visible under its final name before all of it is verified; a version that is already there is
never taken away, only single files in it are replaced, each by a rename.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, FrozenSet, List, Optional, Sequence, Tuple

from . import lock, room, stamp
from .agreement import refuse_changed, refuse_strays
from .assemble import Assembly, sizes_to_come
from .errors import Refused
from .fetch import Unavailable, retried
from .hashing import md5_available
from .layout import Layout
from .limits import Limits
from .manifest import Entry, combine
from .progress import Progress
from .source import Source, manifests
from .stamp import Stamp
from .survey import Glance, glance
from .tree import Tree

_MAX_MANIFEST = 64 << 20


@dataclass(frozen=True)
class Pull:
    """One request: ``distrust`` names files to read again whatever the stamp says."""

    layout: Layout
    source: Source
    limits: Limits
    distrust: FrozenSet[str] = frozenset()
    wait_s: float = 86400.0

    def check(self) -> Dict[str, Any]:
        """What ``run`` would do; writes nothing, not even a lock."""
        known, look = self._look()
        whole = known is not None and look.clean
        try:
            entries = self._entries(hurry=whole)
        except Unavailable as error:
            return self._without_source(known, look, error)
        self._refuse(known, look, entries)
        if known and whole:
            return _result("unchanged", known, (), notes(entries))
        waiting = self._waiting(look, entries)
        staging = Tree(self.layout.staging)
        room.check(self.layout.staging, sizes_to_come(waiting, self.source, self.limits, staging))
        pending = sorted({entry.path for entry in waiting} | set(look.touched))
        return {
            **self._identity(),
            "state": "pending",
            "changed": True,
            "pending": pending,
            "notes": notes(entries),
        }

    def run(self) -> Dict[str, Any]:
        """Pull, repair, or find all in place. Refused when the version cannot be had whole and right."""
        self.layout.make()
        with lock.held(self.layout.lock, self.wait_s):
            known, look = self._look()
            try:
                entries = self._entries(hurry=known is not None and look.clean)
            except Unavailable as error:
                return self._without_source(known, look, error)
            self._refuse(known, look, entries)
            if known and look.clean:
                return _result("unchanged", known, (), notes(entries))
            had = Tree(self.layout.live).exists()
            progress = Progress(self.layout.progress, "pull")
            try:
                work = Assembly(self.layout, self.source, self.limits, entries, progress)
                whole, fetched = work.run(look)
            finally:
                progress.close()
            state = "pulled" if not had else "repaired" if fetched else "adopted" if not known else "reread"
            return _result(state, whole, fetched, notes(entries))

    def _identity(self) -> Dict[str, Any]:
        return {"model": self.layout.model, "version": self.layout.version}

    def _look(self) -> Tuple[Optional[Stamp], Glance]:
        known = stamp.load(self.layout.stamp)
        live = Tree(self.layout.live)
        # A kill between the last rename and the stamp leaves a version that only the journal vouches for.
        vouched = known or (stamp.load(self.layout.journal) if live.exists() else None)
        return known, glance(live, vouched, self.distrust)

    def _entries(self, *, hurry: bool) -> Tuple[Entry, ...]:
        """What the source promises. In a hurry (a verified copy is whole) it is asked once, not patiently."""
        limits = replace(self.limits, tries=1, timeout_s=5.0) if hurry else self.limits

        def read(name: str) -> bytes:
            return retried(self.source, limits, lambda: self.source.document(name, _MAX_MANIFEST))

        try:
            entries = combine(manifests(self.source, read))
        except Refused as error:
            error.where = error.where or self.source.shown
            raise
        if not md5_available() and not all(entry.sha256 for entry in entries):
            raise Refused(
                "this host has no md5 (FIPS) and the source lists nothing else",
                self.source.shown,
                "publish SHA256SUMS or manifest.json beside MD5SUMS",
            )
        return entries

    def _without_source(self, known: Optional[Stamp], look: Glance, error: Unavailable) -> Dict[str, Any]:
        if known is None or not look.clean:
            raise error
        return _result("unchanged", known, (), [f"{error.what}; the verified copy is whole"])

    def _refuse(self, known: Optional[Stamp], look: Glance, entries: Sequence[Entry]) -> None:
        refuse_changed(known, entries, self.source.shown)
        refuse_strays(look, entries, self.layout.live)

    def _waiting(self, look: Glance, entries: Sequence[Entry]) -> List[Entry]:
        there = {p for t in (self.layout.live, self.layout.staging) if Tree(t).exists() for p in Tree(t).scan()}
        return [entry for entry in entries if entry.path not in there]


def notes(entries: Sequence[Entry]) -> List[str]:
    weak = sum(1 for entry in entries if not entry.sha256)
    if not weak:
        return []
    return [f"{weak} files are vouched for by md5 only: that shows damage, not tampering; publish SHA256SUMS too"]


def _result(state: str, whole: Stamp, fetched: Sequence[str], said: List[str]) -> Dict[str, Any]:
    return {
        "model": whole.model,
        "version": whole.version,
        "state": state,
        "changed": state in ("pulled", "repaired", "adopted"),
        "digest": whole.digest,
        "bytes": whole.bytes,
        "files": len(whole.records),
        "fetched": list(fetched),
        "notes": said,
    }

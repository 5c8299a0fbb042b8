"""What this host has verified, and the file system's word on each file at that moment.

A file whose size, mtime, ctime, inode and device are what they were has not been written since: trusted
without reading it. ctime matters, because mtime can be set back. Anything else is read again.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Tuple

from . import files
from .hashing import Sums
from .manifest import Entry


@dataclass(frozen=True)
class Record:
    """One verified file. The last four are zero once it was found damaged: then never trusted by stat."""

    path: str
    size: int
    md5: str
    sha256: str
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, path: str, sums: Sums, seen: os.stat_result) -> Record:
        identity = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev)
        return cls(path, seen.st_size, sums.md5, sums.sha256, *identity)

    def untouched(self, seen: os.stat_result) -> bool:
        identity = (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev)
        return identity == (self.size, self.mtime_ns, self.ctime_ns, self.inode, self.device)

    def distrusted(self) -> Record:
        return replace(self, mtime_ns=0, ctime_ns=0, inode=0, device=0)

    def matches(self, entry: Entry) -> bool:
        """True when the manifest promises what was verified (a hash it does not give is not compared)."""
        return (
            entry.size in (None, self.size)
            and entry.md5 in ("", self.md5 or entry.md5)
            and entry.sha256 in ("", self.sha256)
        )


@dataclass(frozen=True)
class Stamp:
    model: str
    version: str
    source: str
    verified_at: str
    records: Tuple[Record, ...]

    @property
    def digest(self) -> str:
        """Digest of the weights: sha256 over '<sha256>  <size>  <path>' lines, sorted by path."""
        lines = (f"{r.sha256}  {r.size}  {r.path}\n" for r in sorted(self.records, key=lambda r: r.path))
        return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        return sum(record.size for record in self.records)

    def by_path(self) -> Dict[str, Record]:
        return {record.path: record for record in self.records}

    def with_records(self, records: Iterable[Record]) -> Stamp:
        return replace(self, records=tuple(records), verified_at=now())

    def document(self) -> Dict[str, Any]:
        return {
            "model": self.model,
            "version": self.version,
            "source": self.source,
            "digest": self.digest,
            "bytes": self.bytes,
            "verified_at": self.verified_at,
            "bad": [record.path for record in self.records if not record.inode],
            "files": [asdict(record) for record in self.records],
        }


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def save(path: Path, stamp: Stamp) -> None:
    files.write_json(path, stamp.document())


def load(path: Path) -> Optional[Stamp]:
    """The stamp at ``path``; None when there is none or it does not hold together (all is read again)."""
    document = files.read_json(path)
    try:
        records = tuple(Record(**item) for item in document["files"])
        stamp = Stamp(document["model"], document["version"], document["source"], document["verified_at"], records)
        return stamp if document["digest"] == stamp.digest else None
    except (TypeError, KeyError, AttributeError):
        return None

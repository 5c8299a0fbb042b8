"""ZooKeeper's snapshot and transaction log files, read without ZooKeeper: are they whole, and what do they hold?

Formats as ZooKeeper 3.5 to 3.9 write them (FileSnap, SnapStream, FileTxnLog); numbers are big-endian.
A snapshot ends with a seal: Adler-32 of all bytes before it as a long, then the string "/". A log begins with
"ZKLG", a version and an id; each record is its Adler-32 (long), its length (int), the bytes, and 0x42. A file is
made longer in advance, with zeros.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterator, List, Optional, Tuple

SEAL = b"\x00\x00\x00\x01/"
SNAPSHOT, LOG = b"ZKSN", b"ZKLG"
HEAD = 16
LARGEST = 64 << 20  # bytes of one transaction: far above jute.maxbuffer
_NAME = re.compile(r"(snapshot|log)\.([0-9a-f]{1,16})")


@dataclass(frozen=True)
class Numbered:
    """A file and the transaction number in its name."""

    zxid: int
    path: Path


def listed(folder: Path, kind: str) -> List[Numbered]:
    """`snapshot` or `log` files in the order of their numbers. Raises OSError."""
    found = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted(
        (Numbered(int(name.group(2), 16), path) for name, path in found if name and name.group(1) == kind),
        key=lambda one: one.zxid,
    )


def sealed(path: Path) -> bool:
    """Whether a snapshot was written to its end and has the bytes it was written with."""
    size = path.stat().st_size
    if size < HEAD + 13:
        return False
    with path.open("rb") as stream:
        if stream.read(4) != SNAPSHOT:
            return False
        stream.seek(0)
        left, found = size - 13, 1
        while left:
            chunk = stream.read(min(left, 1 << 20))
            if not chunk:
                return False
            found, left = zlib.adler32(chunk, found), left - len(chunk)
        seal = stream.read(13)
    return seal[8:] == SEAL and struct.unpack(">q", seal[:8])[0] == found


def records(stream: BinaryIO) -> Iterator[Tuple[int, int]]:
    """(transaction number, offset of the record's end) of each whole record, up to the first that is not."""
    if len(head := stream.read(HEAD)) < HEAD or head[:4] != LOG:
        return
    offset = HEAD
    while True:
        start = stream.read(12)
        if len(start) < 12:
            return
        checksum, length = struct.unpack(">qi", start)
        if not 32 <= length <= LARGEST:
            return
        body = stream.read(length + 1)
        if len(body) <= length or body[-1] != 0x42 or zlib.adler32(body[:-1]) != checksum:
            return
        offset += 12 + length + 1
        yield struct.unpack(">q", body[12:20])[0], offset


def whole(path: Path) -> Tuple[Optional[int], Optional[int], int]:
    """First and last transaction of a log, and how many bytes of it are whole records. Raises OSError."""
    first = last = None
    end = HEAD
    with path.open("rb") as stream:
        for zxid, end in records(stream):  # noqa: B007  the last one counts
            first, last = (zxid if first is None else first), zxid
    return first, last, end


def follows(before: int, after: int) -> bool:
    """Whether `after` can be the transaction right behind `before`: the next of its epoch, or a later epoch's first.

    The first of an epoch is 1 (0 is the new leader's own). A second leader may have been elected in between.
    """
    if after >> 32 == before >> 32:
        return after == before + 1
    return after > before and after & 0xFFFFFFFF <= 1

"""md5 and sha256 of the same bytes in one pass. hashlib releases the interpreter lock, so threads add up."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any, Callable, Optional

CHUNK = 1 << 20


def _md5() -> Optional[Any]:
    """An md5 object for transfer checks, or None where the host's policy (FIPS) has none at all."""
    try:
        return hashlib.md5(usedforsecurity=False)  # type: ignore[call-arg, unused-ignore]
    except TypeError:  # Python 3.8 has no such argument
        pass
    except ValueError:
        return None
    try:
        return hashlib.md5()
    except ValueError:
        return None


def md5_available() -> bool:
    return _md5() is not None


@dataclass(frozen=True)
class Sums:
    """Hex digests; ``md5`` is empty on a host that has no md5."""

    md5: str
    sha256: str


class Hasher:
    def __init__(self) -> None:
        self._md5 = _md5()
        self._sha256 = hashlib.sha256()

    def update(self, data: bytes) -> None:
        if self._md5 is not None:
            self._md5.update(data)
        self._sha256.update(data)

    def sums(self) -> Sums:
        return Sums("" if self._md5 is None else self._md5.hexdigest(), self._sha256.hexdigest())


def feed(fd: int, hasher: Hasher, on_bytes: Callable[[int], None] = lambda count: None) -> int:
    """Read ``fd`` from its beginning to its end into ``hasher``; the number of bytes read."""
    os.lseek(fd, 0, os.SEEK_SET)
    total = 0
    while True:
        data = os.read(fd, CHUNK)
        if not data:
            return total
        hasher.update(data)
        total += len(data)
        on_bytes(len(data))

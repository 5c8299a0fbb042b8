"""How far the work is, in a small file other programs may read at any time; gone when the work is over."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Optional

from . import files
from .stamp import now

_EVERY_S = 1.0


class Progress:
    """Bytes done of bytes known, shared by all threads. Without a path nothing is written (check mode)."""

    def __init__(self, path: Optional[Path], phase: str) -> None:
        self._path = path
        self._phase = phase
        self._mutex = threading.Lock()
        self._done = 0
        self._total = 0
        self._began = time.monotonic()
        self._written = 0.0

    def expect(self, count: int) -> None:
        with self._mutex:
            self._total += count

    def add(self, count: int, file: str) -> None:
        """``count`` may be negative: what was fetched turned out bad and starts over."""
        with self._mutex:
            self._done += count
            moment = time.monotonic()
            if self._path is None or moment - self._written < _EVERY_S:
                return
            self._written = moment
            files.write_json(self._path, self._document(file, moment), durable=False)

    def _document(self, file: str, moment: float) -> Any:
        return {
            "phase": self._phase,
            "bytes_done": self._done,
            "bytes_total": max(self._total, self._done),
            "file": file,
            "rate": round(self._done / max(moment - self._began, 0.001)),
            "updated_at": now(),
        }

    def close(self) -> None:
        if self._path is not None and self._path.exists():
            self._path.unlink()

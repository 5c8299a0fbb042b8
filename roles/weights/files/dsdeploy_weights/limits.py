"""How patient the work is. Tests make it hurry; operators set threads and timeout."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Optional

from .errors import Refused


@dataclass(frozen=True)
class Limits:
    """Seconds, bytes and counts.

    ``tries`` counts answers without one byte of progress; ``bad_tries`` complete files with wrong bytes.
    """

    threads: int = 4
    tries: int = 6
    bad_tries: int = 3
    timeout_s: float = 30.0
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    slow_window_s: float = 60.0
    slow_bytes: int = 64 * 1024

    def pause_s(self, tried: int, retry_after: Optional[float]) -> float:
        """Exponential, with jitter so a rack does not come back in step; the server's wish goes first."""
        if retry_after is not None:
            return min(retry_after, self.backoff_max_s)
        full = min(self.backoff_max_s, self.backoff_s * float(2**tried))
        return full * random.uniform(0.5, 1.0)


class Stop:
    """One thread's fatal finding ends the others at their next chunk, with that finding and no other."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._cause: BaseException = Refused("stopped")

    def set(self, cause: BaseException) -> None:
        if not self._event.is_set():
            self._cause = cause
        self._event.set()

    def check(self) -> None:
        if self._event.is_set():
            raise self._cause

    def sleep(self, seconds: float) -> None:
        self._event.wait(seconds)
        self.check()

"""Is a start still going somewhere? Pure: lines of its log, counters that grow, and the time, in; a verdict out.

Loading 700 GB and compiling kernels takes tens of minutes, in which no port answers: silence is no death and
noise is no life. What counts as a step forward is a phase not seen before, a count in a line that went up, a
kind of line never seen before, or bytes read or written. A line that only repeats itself is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Sequence, Set, Tuple

GROWTH = 1 << 20  # bytes between two measurements that count as a step; of a cache that is filled, any
CACHE = "cache"
_COUNT = re.compile(r"([0-9]+)\s*%|\b([0-9]+)\s*/\s*([0-9]+)\b")
_DIGITS = re.compile(r"0x[0-9a-fA-F]+|[0-9]+")
_KINDS = 4096  # kinds of lines remembered

Patterns = Sequence[Tuple[str, str]]


@dataclass
class Progress:
    """`phases` and `fatal` are (regular expression, word) pairs, the first that matches counts; `now` in seconds."""

    phases: Patterns
    fatal: Patterns
    patience: float
    now: float
    phase: str = "starting"
    last: str = ""
    done: Optional[int] = None  # percent, where a line tells
    why: str = ""
    hopeless: bool = False
    _moved: float = 0.0
    _kinds: Set[str] = field(default_factory=set)
    _counts: Dict[str, int] = field(default_factory=dict)
    _bytes: Dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._moved = self.now

    def line(self, text: str, now: float) -> None:
        """One line of the log."""
        text = text.strip()
        if not text:
            return
        if not self.why:
            self._judge(text)
        kind = _DIGITS.sub("#", text)[:200]
        known, count = kind in self._kinds, _count(text)
        further = count is not None and count > self._counts.get(kind, -1)
        if further and count is not None:
            self._counts[kind] = count
        if not known and len(self._kinds) < _KINDS:
            self._kinds.add(kind)
        word = _first(self.phases, text)
        if word and word != self.phase:
            self.phase, self.done = word, None
        if word and count is not None:
            self.done = count
        if not known or further:
            self._moved, self.last = now, text[:200]

    def grown(self, counters: Mapping[str, int], now: float) -> None:
        """Byte counters by name, as they stand; one that shrank is a new process."""
        for name, value in counters.items():
            if value - self._bytes.get(name, value) >= (1 if name == CACHE else GROWTH):
                self._moved = now
            self._bytes[name] = value

    def stalled(self, now: float) -> str:
        """Why nothing will come of waiting; "" while there is hope."""
        quiet = now - self._moved
        if quiet < self.patience:
            return ""
        return f"no progress for {quiet:.0f} s while {self}" + (f"; last: {self.last}" if self.last else "")

    def __str__(self) -> str:
        return self.phase if self.done is None else f"{self.phase}, {self.done} %"

    def _judge(self, text: str) -> None:
        """Sentences after which no start comes up; one that begins with ! will say the same at the next start."""
        word = _first(self.fatal, text)
        if word:
            self.why, self.hopeless = f"{word.lstrip('!')}: {text[:300]}", word.startswith("!")


def read(phases: Patterns, fatal: Patterns, lines: List[str], patience: float = 900.0) -> Progress:
    """The state after these lines, a second apart: for tests and for reading a journal."""
    found = Progress(phases, fatal, patience, 0.0)
    for number, text in enumerate(lines, 1):
        found.line(text, float(number))
    return found


def _count(text: str) -> Optional[int]:
    """Percent done, where a line says so in one of two ways."""
    found = _COUNT.search(text)
    if not found:
        return None
    if found.group(1):
        return min(100, int(found.group(1)))
    total = int(found.group(3))
    return min(100, 100 * int(found.group(2)) // total) if total else None


def _first(patterns: Patterns, text: str) -> str:
    for pattern, word in patterns:
        if re.search(pattern, text):
            return word
    return ""

"""What was judged, how it came out, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "error"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "error")


@dataclass(frozen=True)
class Verdict:
    """`what` is the part judged (`driver`, `glibc`); `nearest`, on errors, the closest combination that works."""

    level: Level
    what: str
    why: str
    nearest: str = ""


def worst(verdicts: Iterable[Verdict]) -> Level:
    """The level of the whole: its worst part's."""
    return max((verdict.level for verdict in verdicts), key=LEVELS.index, default="ok")

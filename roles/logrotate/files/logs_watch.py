"""Keep logs below their total while they are written, whoever writes however fast. Python >= 3.8.

The timer comes once an hour, and a program that writes without end fills a disk in a minute. So sizes are looked at
ten times a second (a few file names: some thousandths of a processor). What is over the total goes at once: rotated
logs, the oldest first, then all but the end of the largest live one. A log that has reached its size is rotated by
the timer's own unit: systemd starts it when the file `wanted` is touched, so that this needs no right to start units.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import logs
from logs_bound import Cut, alone, live, relieve, remove, rotated, surplus

WANTED = "wanted"  # beside the state file; dsdeploy-logs.path looks at it
LOOK_S = 0.1
SHARE = 20  # of a processor's time one part at most: with thousands of logs looks are further apart
TELL_S = 10.0  # a line about what went, at most so often; a flood of logs must not become one of the journal's
AGAIN_S = 3600.0  # what cannot be helped is told again
SOON_S, LATE_S = 3.0, 3600.0  # between two early rotations: longer each time, where the last one was of no use


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Watch:
    """`given` are the settings of the role; times are seconds of a steady clock."""

    def __init__(self, given: Dict[str, Any], tell: Callable[[str], None] = say) -> None:
        self.patterns, self.total, self.file = list(given["logs"]), int(given["total"]), int(given["file"])
        self.lock = Path(given["state"]).with_name(logs.LOCK)
        self.wanted = Path(given["state"]).with_name(WANTED)
        self.metrics = Path(given["metrics"]).with_name("dsdeploy_logs_watch.prom")
        self.say = tell
        self.pause, self.next = SOON_S, 0.0
        self.cuts: Dict[str, int] = {}
        self.removed = self.gone = 0
        self.told_at: Optional[float] = None
        self.troubles: Dict[str, float] = {}

    def look(self, now: float) -> None:
        """One look, and what follows from it."""
        written = live(self.patterns)
        size = sum(one.size for one in written) + sum(one.size for one in rotated(self.patterns))
        large = any(one.size > self.file for one in written)
        if size > self.total or large:
            with alone(self.lock, wait=False) as free:
                if size > self.total:
                    self.shrink(free, sum(one.size for one in written), now)
            if large and free:
                self.early(now)
        if not large:
            self.pause, self.next = SOON_S, min(self.next, now + SOON_S)
        self.tell(now)

    def shrink(self, free: bool, written: int, now: float) -> None:
        """Below the total again. While logrotate is at work (not `free`) only live logs are touched."""
        if free:
            freed, complaints = remove(surplus(rotated(self.patterns), written, self.total))
            self.removed += freed
            self.complain(complaints, now)
        for one in relieve(self.patterns, self.total):
            self.cuts[one.path] = self.cuts.get(one.path, 0) + one.gone
            self.complain([one.said("")] if one.why else [], now)

    def early(self, now: float) -> None:
        """Have logs rotated before their hour; not again and again where that is of no use."""
        if now < self.next:
            return
        self.next, self.pause = now + self.pause, min(2 * self.pause, LATE_S)
        try:
            os.close(os.open(str(self.wanted), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as error:
            self.complain([f"no rotation before the next hour: {self.wanted}: {error.strerror}"], now)

    def complain(self, words: List[str], now: float) -> None:
        for text in words:
            if now - self.troubles.get(text, -AGAIN_S) >= AGAIN_S:
                self.troubles[text] = now
                self.say(text)

    def tell(self, now: float) -> None:
        """What went since it was last told, and the sum of all that."""
        if not (self.removed or self.cuts) or (self.told_at is not None and now - self.told_at < TELL_S):
            return
        why = f"all together were over {self.total >> 20} MiB"
        if self.removed:
            self.say(f"{self.removed >> 10} KiB of old logs removed: {why}")
        for path, gone in self.cuts.items():
            if gone:
                self.say(Cut(path, gone).said(why))
        self.gone += self.removed + sum(self.cuts.values())
        self.removed, self.cuts, self.told_at = 0, {}, now
        self.put()

    def put(self) -> None:
        """The metrics of the watch, beside those of the rotation."""
        name = "dsdeploy_logs_gone_bytes_total"
        text = f"# HELP {name} What had to go since the watch began, for the total's sake.\n# TYPE {name} counter\n"
        logs.put(self.metrics, f"{text}{name} {self.gone}\n")


def pause(spent: float) -> float:
    """Seconds until the next look, after one that took so many of the processor's."""
    return max(LOOK_S, SHARE * spent)


def main(settings: Path = logs.SETTINGS) -> None:
    """Look until the unit is stopped."""
    watch = Watch(json.loads(settings.read_text(encoding="utf-8")))
    watch.put()
    while True:
        before = time.process_time()
        watch.look(time.monotonic())
        time.sleep(pause(time.process_time() - before))


if __name__ == "__main__":
    main()

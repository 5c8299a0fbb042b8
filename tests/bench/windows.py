"""When each release may answer, from the journals of the runs that switched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

from ..load.history import Request
from ..load.judge import Window

STEP = "switch"


@dataclass(frozen=True)
class Switch:
    """One run that moved traffic. `since`: its first intent to switch; `until`: the last switch was done."""

    run: str
    before: str
    after: str
    since: float
    until: float


def switch(run: str, before: str, after: str, records: Iterable[Mapping[str, Any]]) -> Switch:
    """From a run's journal. Raises ValueError for one in which nothing was switched."""
    own = [record for record in records if record.get("step") == STEP]
    intents = [_seconds(record) for record in own if record["kind"] == "intent"]
    done = [_seconds(record) for record in own if record["kind"] == "done"]
    if not intents or not done:
        raise ValueError(f"{run}: its journal shows no switch that was done")
    return Switch(run, before, after, min(intents), max(done))


def _seconds(record: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(record["at"]).timestamp()


def windows(switches: Sequence[Switch]) -> list[Window]:
    """One for each time a release came in: from the first intent to bring it in to the last done of taking it out."""
    if not switches:
        return []
    found, since = [], -inf
    for this in switches:
        found.append(Window(this.before, since, this.until))
        since = this.since
    return [*found, Window(switches[-1].after, since, inf)]


def overstay(history: Iterable[Request], release: str, since: float, until: float) -> float:
    """Seconds after `since` in which requests were sent that this release still answered; looked for up to `until`."""
    sent = (r.sent for r in history if r.release == release and r.sent is not None and since < r.sent < until)
    return max(sent, default=since) - since

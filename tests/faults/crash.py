"""One case: load flows, the verb dies at its point, what it left is finished, and everything is compared."""

from __future__ import annotations

import signal
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from ..bench.traffic import flowing
from ..load import judge
from ..load.history import Request
from .cases import ABSENT, HEAP, IN_TURN, IN_TURN_RETURNING, MEMBERS, RETURNING, ROLLBACK, Case
from .lab import HEAPS, Ended, Lab, connection, processes, until
from .references import References
from .snapshot import differences, take

RATE = 12.0  # requests a second
ORPHANS_S = 10.0
OFFENDERS = 5  # failed requests that a row keeps whole


@dataclass
class Row:
    """What became of a case; `wrong` is empty when all of it held. Seconds from the start of each command."""

    case: str
    killed_s: float = 0.0
    finished_s: float = 0.0
    requests: int = 0
    failed: int = 0
    silence_ms: float = 0.0
    offenders: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.wrong

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


@dataclass(frozen=True)
class Aim:
    """From where to where; `end` is the version and the heap that the case is to end with."""

    before: str
    after: str
    heap_before: str
    heap_after: str

    def end(self, case: Case) -> tuple[str, str]:
        forward = case.mode == "rerun"
        return (self.after if forward else self.before), (self.heap_after if forward else self.heap_before)


def aim(case: Case, serving: str, heap: str) -> Aim:
    if case.scene == HEAP:
        return Aim(serving, serving, heap, HEAPS[1 - HEAPS.index(heap)])
    return Aim(serving, "v1" if serving == "v2" else "v2", heap, heap)


def arrange(lab: Lab, case: Case, to: Aim, references: References) -> str:
    """The scene. Returns what may differ at a case's end that does not go forward: a folder it has lost before."""
    strategy = "in-turn" if case.scene in (IN_TURN, IN_TURN_RETURNING) else "auto"
    # a second batch is the first one's code again: only where a point is reached more than once
    lab.write(to.after, strategy, to.heap_after, canary=1 if "#" in case.point or strategy == "in-turn" else 2)
    lab.refuse_switches(case.scene in (RETURNING, IN_TURN_RETURNING))
    if case.scene != ABSENT:
        return ""
    host, folder = lab.site.with_role("engine")[-1], f"/srv/dsdeploy/releases/{references.release(to.after)}"
    lab.ssh(host, f"rm -rf {folder}")  # the case before may have left it so
    return f"{host} {folder}" if case.mode == ROLLBACK else ""


def play(lab: Lab, case: Case, serving: str, heap: str, references: References) -> Row:
    """The whole case. Raises Broken when the lab cannot be arranged for it."""
    row, to = Row(case.name), aim(case, serving, heap)
    references.snapshot(*to.end(case))  # one that is not known yet is measured before anything is disturbed
    beside = arrange(lab, case, to, references)
    mark = uuid.uuid4().hex
    target, model = f"{lab.site.router.vip}:{lab.site.router.port}", lab.site.model.name
    with flowing(lab.file.parent / "load.jsonl", target, RATE, model) as traffic:
        died = lab.run(*_words(case, lab), mark=mark, crash=f"{case.point}=kill")
        row.killed_s = round(died.seconds, 1)
        if _died(died, row):
            _no_orphans(died, mark, row)
        _finish(lab, case, to, row)
        row.wrong += [f"still there after the next run: {words}" for words in processes(mark, died.pid)[:2]]
        _serves(lab, to.end(case)[0], references, row)
    _requests(traffic.history(), row)
    row.wrong += differences(references.snapshot(*to.end(case)), take(lab.site), beside)
    return row


def _words(case: Case, lab: Lab) -> tuple[str, ...]:
    component = ("--component", "zookeeper") if case.verb == MEMBERS else ()
    return (case.verb.split()[0], str(lab.file), "--yes", *component)


def _died(ended: Ended, row: Row) -> bool:
    if ended.code == -signal.SIGKILL:
        return True
    row.wrong.append(f"it did not die at the point: exit {ended.code}, {ended.said}")
    return False


def _no_orphans(died: Ended, mark: str, row: Row) -> None:
    def left() -> list[str]:
        return [words for words in processes(mark, died.pid) if not connection(words)]

    if not until(lambda: not left(), ORPHANS_S):
        row.wrong += [f"lives {ORPHANS_S:.0f} s after the kill: {words[:200]}" for words in left()[:2]]


def _finish(lab: Lab, case: Case, to: Aim, row: Row) -> None:
    lab.refuse_switches(False)
    if case.mode == ROLLBACK:
        ended = lab.run("rollback", str(lab.file), "--yes")
    else:
        if case.mode == "revert":
            lab.write(to.before, heap=to.heap_before)
        ended = lab.run(*_words(case, lab))
    row.finished_s = round(ended.seconds, 1)
    if ended.code:
        row.wrong.append(f"{case.mode}: exit {ended.code}, {ended.said}")


def _serves(lab: Lab, version: str, references: References, row: Row) -> None:
    status, wanted = lab.status(), references.release(version)
    if not status.get("healthy"):
        row.wrong.append(f"not healthy: {status.get('verdict', 'no status')}")
    if status.get("release") != wanted:
        row.wrong.append(f"{status.get('release')} serves, {wanted} was to")


def _requests(history: tuple[Request, ...], row: Row) -> None:
    seen = judge.summary(history)
    row.requests, row.failed, row.silence_ms = seen["requests"], seen["failed"], seen["silence_ms"]
    row.offenders = [vars(request) for request in history if not request.ok][:OFFENDERS]
    if row.failed or seen["missing"]:
        row.wrong.append(f"{row.failed} requests failed, {seen['missing']} are missing: {seen['errors']}")

"""What the hosts' journals say about runs: one that was left unfinished, and what a rollback returns to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsdeploy import journal
from dsdeploy.errors import DsdeployError
from dsdeploy.facts import Epoch, Runs
from dsdeploy.hosts import Reading
from dsdeploy.runs import Run

MOVES = frozenset({"start", "out", "swap", "switch", "commit", "park", "stop", "back", "clear"})


@dataclass(frozen=True)
class Past:
    """One run, as all hosts together remember it.

    `to` is "" while it was not known yet; `outcome` is "" when no host was told how the run ended.
    `committed`: the new release was recorded as serving, there is only the way forward.
    """

    run: str
    verb: str
    who: str
    at: str
    epoch: int
    source: str
    to: str
    outcome: str
    step: str
    committed: bool
    moved: bool
    header: Mapping[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """About a run without an end. It is no problem of its own: what it broke shows by itself."""
        aim = f"{self.verb} to {self.to or 'a new release'}, begun {self.at[:19]} by {self.who}"
        return f"run {self.run} ({aim}) has not ended; its last step is {self.step or 'begin'}"


def epoch(readings: Mapping[str, Reading]) -> int:
    """The highest epoch any host has seen."""
    return max((seen.number for reading in readings.values() if (seen := reading.get(Epoch))), default=0)


def runs(readings: Mapping[str, Reading]) -> list[Past]:
    """Every run the hosts know of, oldest first."""
    known: dict[str, list[Any]] = {}
    for reading in readings.values():
        for one in reading.get(Runs) or Runs():
            known.setdefault(one.run, []).append(one)
    return sorted((_past(name, copies) for name, copies in known.items()), key=lambda past: (past.epoch, past.at))


def unfinished(readings: Mapping[str, Reading]) -> Past | None:
    """The newest run, if it was moving releases and nobody recorded its end."""
    past = runs(readings)
    if not past or past[-1].outcome:
        return None
    last = past[-1]
    return last if last.moved or last.verb in ("upgrade", "rollback") else None


def replaced_nothing(readings: Mapping[str, Reading]) -> Past | None:
    """The newest run, if it is an `up` to another release that ended before it had moved anything."""
    past = runs(readings)
    last = past[-1] if past else None
    if last is None or last.verb != "up" or last.outcome or last.moved or not last.source or last.to == last.source:
        return None
    return last


def unheard(last: Run | None, readings: Mapping[str, Reading]) -> Run | None:
    """This computer's last run, if it was to bring a release and died before any host knew of it."""
    if last is None or last.id in {past.run for past in runs(readings)}:
        return None
    records = journal.read(last.folder / journal.NAME)
    verbs = {record["detail"].get("verb") for record in records if record.get("step") == "begin"}
    ended = any(record.get("kind") == "end" for record in records)
    return last if verbs & {"up", "upgrade"} and not ended else None


def untold(last: Run | None, readings: Mapping[str, Reading]) -> tuple[Run, Past] | None:
    """This computer's last run, if the hosts know how it ended and it died before it had noted that here."""
    past = next((past for past in runs(readings) if last and past.run == last.id and past.outcome), None)
    if last is None or past is None:
        return None
    ended = any(record.get("kind") == "end" for record in journal.read(last.folder / journal.NAME))
    return None if ended else (last, past)


def same_way(left: Past | None, expected: str | None, file: str) -> None:
    """Raise DsdeployError when a run was left unfinished that goes elsewhere than the site file asks for."""
    if left is None or (left.verb != "rollback" and (not left.to or left.to == expected)):
        return
    aim = f"the {left.verb} to {left.to or 'another release'} of {left.at[:19]} was left unfinished at step {left.step}"
    hint = (
        "dsdeploy resume SITE"
        if left.verb == "rollback" or left.committed
        else "dsdeploy resume SITE, or dsdeploy abort SITE"
    )
    raise DsdeployError(
        f"{aim}; {file} asks for {expected or 'a release that is not on the hosts yet'}",
        f"run {left.run}, begun by {left.who}",
        f"{hint}; then run the same command again",
    )


def before(readings: Mapping[str, Reading], serving: str) -> Past | None:
    """The run that brought the serving release in place of another; None when no host remembers one."""
    found = [past for past in runs(readings) if past.outcome == "done" and past.to and past.source != past.to]
    return found[-1] if found and found[-1].to == serving else None


def _past(name: str, copies: Iterable[Any]) -> Past:
    copies = list(copies)
    header: Mapping[str, Any] = next((copy.begin for copy in copies if copy.begin), {})
    records = sorted((record for copy in copies for record in (*copy.steps, copy.last)), key=_at)
    ends = [record for record in records if record.get("kind") == "end"]
    steps = [record for record in records if record.get("kind") == "step"]
    epochs = [record["epoch"] for record in (header, *records) if isinstance(record.get("epoch"), int)]
    released = [str(record["release"]) for record in steps if record.get("release")]
    names = {str(record.get("step")) for record in steps}
    return Past(
        run=name,
        verb=str(header.get("verb", "")),
        who=f"{header.get('user', '?')}@{header.get('controller', '?')}",
        at=str(header.get("at", "")),
        epoch=max(epochs, default=0),
        source=str(header.get("from", "")),
        to=str(ends[-1]["to"])
        if ends and ends[-1].get("to")
        else (released[0] if released else str(header.get("to", ""))),
        outcome=str(ends[-1].get("outcome", "")) if ends else "",
        step=str(steps[-1].get("step", "")) if steps else "",
        committed="commit" in names,
        moved=bool(names & MOVES),
        header=header,
    )


def _at(record: Mapping[str, Any]) -> str:
    return str(record.get("at", ""))

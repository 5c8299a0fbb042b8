"""One run that changes hosts: what it works on, what it may do, and the record of what it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsdeploy import interrupt, inventory, journal, output, playbook, points
from dsdeploy.decisions import Decisions, Order
from dsdeploy.ensemble import Lock
from dsdeploy.errors import GateError
from dsdeploy.events import Outcome
from dsdeploy.journal import Journal
from dsdeploy.playbook import Play
from dsdeploy.runs import Run
from dsdeploy.runtimes.groups import whole
from dsdeploy.site import Role, Site

FENCE = "fence"  # the role whose task every play begins with; the action is what comes after it
RECORDS = frozenset({"begin", "commit", "end"})  # but in these it is the action


@dataclass
class Job:
    """`header` is the first line of the run's journal on every host. `returning` is set while requests are
    brought back to the release before: that must work without the ensemble, and the hosts' fence still holds."""

    site: Site
    record: Run
    control: Path
    lock: Lock
    header: Mapping[str, Any] = field(default_factory=dict)
    limit: tuple[str, ...] = ()
    verbosity: int = 0
    decisions: Decisions = field(default_factory=Decisions)
    outcome: Outcome = field(default_factory=Outcome)
    say: output.Say = output.silent
    returning: bool = False
    interpreters: Mapping[str, str] = field(default_factory=dict)
    now: str = ""  # the step that runs
    detail: Mapping[str, Any] = field(default_factory=dict)
    _begun: bool = False

    @property
    def journal(self) -> Journal:
        return Journal(self.record.folder)

    def targets(self, role: Role) -> tuple[str, ...]:
        """Hosts with this role, within the limit; of hosts that are one engine, all."""
        names = tuple(name for name in self.site.with_role(role) if not self.limit or name in self.limit)
        return whole(self.site, names) if role == "engine" else names

    @contextmanager
    def step(self, name: str, title: str, past: bool = False, **detail: Any) -> Iterator[None]:
        """One atomic step: allowed, intent on disk, action, done on disk. With `past` the new release serves
        already: then a lost quorum stops no longer, as it could only leave the old engines running."""
        self.between_steps()
        if not self.returning:
            self._allowed(name, past)
        self.now, self.detail = name, detail
        self.journal.intent(name, **detail)
        points.reach(f"{name}.intent")
        self._begun = False
        with output.step(title) as self.say:
            yield
        points.reach(f"{name}.action")
        self.journal.done(name, **detail)

    def between_steps(self) -> None:
        """Where a run may be stopped: also called while it only waits. Raises Interrupted when somebody asked."""
        if not self.returning:
            interrupt.check()

    def _allowed(self, name: str, past: bool) -> None:
        if not past:
            self.lock.step(name)
            return
        try:
            self.lock.check()
        except GateError as error:  # without a quorum nobody else can have the lock, and the hosts' fence holds
            output.note(f"    {error.what}; going on, the new release serves already", style="yellow")

    def play(
        self,
        name: str,
        limit: Sequence[str] | None,
        decisions: Decisions | None = None,
        folder: str = "",
        site: Site | None = None,
        **order: Any,
    ) -> Outcome:
        """Run one playbook on these hosts, None for all it is for; raises as playbook.run does.

        `folder` keeps plays that run at the same time apart; `order` are the fields of inventory.Order.
        """
        if limit is not None and not limit:
            return Outcome()
        where = self.record.folder / folder
        where.mkdir(exist_ok=True, mode=0o700)
        path = inventory.write(site or self.site, where, decisions or self.decisions, self._order(**order))
        play = Play(name, path, tuple(limit or ()), max(0, self.verbosity - 1))
        return playbook.run(play, self.record, self.control, self._show)

    def run(self, name: str, limit: Sequence[str] | None, decisions: Decisions | None = None, **more: Any) -> Outcome:
        """`play`, and its outcome added to the run's."""
        outcome = self.play(name, limit, decisions, **more)
        self.done(outcome)
        return outcome

    def done(self, *outcomes: Outcome) -> None:
        """Add what plays did to the run's total, and show what they want the operator to know."""
        for outcome in outcomes:
            self.outcome += outcome
            for notice in outcome.notices:
                output.note(f"    {notice}")
            for change in outcome.changes if self.verbosity else ():
                output.note(f"    changed {change['host']}: {change['task']}")

    def _order(self, record: Mapping[str, Any] | None = None, **order: Any) -> Order:
        told = record or {
            "kind": "step", "at": journal.now(), "epoch": self.lock.epoch, "step": self.now,
            "release": self.decisions.release, "detail": dict(self.detail),
        }  # fmt: skip
        return Order(epoch=self.lock.epoch, run=self.record.id, header=self.header, record=told,
                     interpreters=self.interpreters, **order)  # fmt: skip

    def _show(self, event: dict[str, Any]) -> None:
        if event["event"] != "task":
            return
        self.say(str(event["task"]))
        if (event["role"] != FENCE or self.now in RECORDS) and not self._begun:
            self._begun = True
            points.reach(f"{self.now}.during")

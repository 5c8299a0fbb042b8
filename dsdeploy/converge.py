"""The stages of `up`, in order: each reads what it must, decides, and starts one or two plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from dsdeploy import decide, hosts, inventory, output, plan, playbook, progress, roll
from dsdeploy.ensemble import Lock
from dsdeploy.events import Outcome
from dsdeploy.facts import Engines, Os, Weights
from dsdeploy.inventory import Decisions
from dsdeploy.playbook import Play
from dsdeploy.runs import Run
from dsdeploy.site import Role, Site


@dataclass
class Converge:
    """One `up`: what it works on, what it has decided, and what it has done so far."""

    site: Site
    record: Run
    control: Path
    lock: Lock
    limit: tuple[str, ...] = ()
    verbosity: int = 0
    decisions: Decisions = field(default_factory=Decisions)
    outcome: Outcome = field(default_factory=Outcome)
    say: output.Say = output.silent

    def targets(self, role: Role) -> tuple[str, ...]:
        """Hosts with this role, within the limit."""
        return tuple(name for name in self.site.with_role(role) if not self.limit or name in self.limit)

    def play(
        self, name: str, limit: Sequence[str] | None, decisions: Decisions | None = None, folder: str = ""
    ) -> Outcome:
        """Run one playbook on these hosts, None for all it is for; raises as playbook.run does."""
        if limit is not None and not limit:
            return Outcome()
        self.lock.check()
        where = self.record.folder / folder
        where.mkdir(exist_ok=True, mode=0o700)
        path = inventory.write(self.site, where, decisions or self.decisions)
        play = Play(name, path, tuple(limit or ()), max(0, self.verbosity - 1))
        return playbook.run(play, self.record, self.control, self._show)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        with output.step(title) as self.say:
            yield

    def done(self, *outcomes: Outcome) -> None:
        """Add what plays did to the run's total, and show what they want the operator to know."""
        for outcome in outcomes:
            self.outcome += outcome
            for notice in outcome.notices:
                output.note(f"    {notice}")
            for change in outcome.changes if self.verbosity else ():
                output.note(f"    changed {change['host']}: {change['task']}")

    def _show(self, event: dict[str, Any]) -> None:
        if event["event"] == "task":
            self.say(str(event["task"]))


def prepare(job: Converge) -> None:
    """Hosts, and at the same time the weights: neither needs the other."""
    engines = job.targets("engine")
    with job.step("prepare hosts, pull and verify weights"):
        plays = [partial(job.play, "prep", job.limit or None)]
        if engines:
            plays.append(partial(job.play, "weights", engines))
        with progress.weights(job.site, engines, job.say):
            job.done(*playbook.together(plays))


def prep(job: Converge) -> None:
    with job.step("prepare hosts"):
        job.done(job.play("prep", job.limit or None))


def weights(job: Converge) -> None:
    with job.step("pull and verify weights"), progress.weights(job.site, job.targets("engine"), job.say):
        job.done(job.play("weights", job.targets("engine")))


def build(job: Converge) -> None:
    """Runtime and build, both named after what they are made of, so an existing one is left alone."""
    if not job.targets("engine") and not job.targets("router"):
        return
    with job.step("decide the release"):
        readings = hosts.read(job.site, Engines, Os, Weights, names=job.site.with_role("engine"))
        job.decisions = decide.decisions(job.site, readings, job.targets("engine"))
    with job.step(f"install the runtime, build for release {job.decisions.release}"):
        job.done(job.play("build", job.targets("engine")))


def ensemble(job: Converge) -> None:
    members = job.targets("zookeeper")
    if not members:
        return
    with job.step("ZooKeeper ensemble"):
        job.done(job.play("ensemble", members))
    roll.restart_where_needed(job.site, members, lambda host: job.done(job.play("member", (host,))))


def engine(job: Converge) -> None:
    """Start the release in its colour on every engine host and wait for a real completion."""
    if not job.targets("engine"):
        return
    _decide_if_skipped(job)
    with job.step(f"start release {job.decisions.release}"):
        job.done(job.play("engine", job.targets("engine")))


def router(job: Converge) -> None:
    """Point the routers at the release; afterwards the colour it replaced is drained and stopped."""
    routers = job.targets("router")
    if not routers:
        return
    _decide_if_skipped(job)
    with job.step(f"route to release {job.decisions.release}"):
        active = replace(job.decisions, active=job.decisions.colours)
        job.decisions = active
        job.done(job.play("router", routers))
    readings = hosts.read(job.site, Engines, names=job.targets("engine"))
    old = plan.superseded(readings, job.decisions.colours)
    if old and not job.limit:
        with job.step(f"drain and stop the release before, on {', '.join(old)}"):
            job.done(job.play("stop", tuple(old), replace(job.decisions, colours=old), "stop"))


def _decide_if_skipped(job: Converge) -> None:
    """`--only engine` and `--only router` start in the middle: what they need is read again."""
    if not job.decisions.release:
        readings = hosts.read(job.site, Engines, Os, Weights, names=job.site.with_role("engine"))
        job.decisions = decide.decisions(job.site, readings, job.targets("engine"))


Stage = Callable[[Converge], None]
ALL: tuple[Stage, ...] = (prepare, build, ensemble, engine, router)
ONE: Mapping[str, Stage] = {
    "prep": prep, "weights": weights, "build": build, "ensemble": ensemble, "engine": engine, "router": router,
}  # fmt: skip


def stages(only: str | None) -> tuple[Stage, ...]:
    """All stages in order, or the one that was asked for."""
    return (ONE[only],) if only else ALL

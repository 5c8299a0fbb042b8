"""Forward, batch by batch; back, when anything says no.

Every step asks the hosts first and does only what is still to do, so the same loop finishes a run that
died anywhere. Until `commit` the old release keeps running, and everything can go back; after it
there is only the way forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from dsdeploy import hooks, output
from dsdeploy.errors import DsdeployError, Fenced, GateError, Interrupted, PostconditionFailed, Problem
from dsdeploy.job import Job
from dsdeploy.releases.strategy import Strategy
from dsdeploy.releases.view import OTHER, View
from dsdeploy.rollout import gates, moves
from dsdeploy.rollout.target import Target
from dsdeploy.site import Colour


@dataclass
class Roll:
    """From one release to another. `source` gives the old one, read only when the way back has to start it."""

    job: Job
    target: Target
    old: str
    strategy: Strategy
    source: Callable[[], Target]
    cut: int = 0


def forward(roll: Roll) -> None:
    """All hosts to the target. Raises GateError when a gate said no and the old release serves everywhere;
    PostconditionFailed when it could not be brought back; Fenced and Interrupted leave a run to be resumed."""
    job = roll.job
    job.decisions = roll.target.decisions
    try:
        seen = moves.look(roll.job.site)
        pending = seen.pending(roll.target.release)
        if pending:
            gates.allow(job, "the upgrade", {}, roll.target.release)
            if roll.strategy.name == "side-by-side":
                where = {host: seen.hosts[host].place(roll.target.release) for host in pending}
                moves.start(job, roll.target, where)
                gates.soak(job, "before the switch", where, roll.target.release)
        for number, batch in enumerate(roll.strategy.batches, 1):
            _take(roll, number, batch)
        gates.allow(job, "the commit", {}, roll.target.release)
    except (Fenced, Interrupted):
        raise
    except DsdeployError as error:
        _give_up(roll, error)
    _commit(roll)
    roll.cut += moves.retire(job, roll.target.release)


def _take(roll: Roll, number: int, batch: tuple[str, ...]) -> None:
    """One batch: gate, switch on every router, prove, drain, soak, gate."""
    job, target, seen = roll.job, roll.target, moves.look(roll.job.site)
    batch = tuple(host for host in batch if not seen.hosts[host].serves(target.release))
    if not batch:
        return
    total = len(roll.strategy.batches)
    output.note(f"batch {number} of {total}: {', '.join(batch)}", style="bold")
    where = {host: seen.hosts[host].place(target.release) for host in batch}
    old = {host: OTHER[colour] for host, colour in where.items()}
    hooks.run(job, "pre-switch", batch=list(batch), to=target.release)
    if roll.strategy.name == "in-turn":
        _swap(roll, batch, where, old)
    for router in job.site.with_role("router"):
        gates.allow(job, f"the switch on {router}", where, target.release)
        moves.switch(job, router, target, where, roll.old)
    left = moves.look(roll.job.site).pending(target.release)
    gates.prove(job, where, target.release, roll.old, whole=not left)
    hooks.run(job, "post-switch", batch=list(batch), to=target.release)
    if roll.strategy.name == "side-by-side":
        roll.cut += moves.drain(job, old)
    gates.soak(job, f"after the switch of {', '.join(batch)}", where, target.release)
    gates.allow(job, "the next step", where, target.release)


def _swap(roll: Roll, batch: tuple[str, ...], where: moves.Colours, old: moves.Colours) -> None:
    for host in batch:
        if not roll.strategy.downtime:
            gates.allow(roll.job, f"taking {host} out", {}, roll.target.release)
            moves.out(roll.job, host, roll.old)
            roll.cut += moves.drain(roll.job, {host: old[host]})
        moves.swap(roll.job, roll.target, host, where[host])


def _commit(roll: Roll) -> None:
    """From here on the run is finished forward, whatever happens."""
    job = roll.job
    with job.step("commit", f"record {roll.target.release} as the release that serves", past=True):
        job.run("fence", None)
        try:
            job.lock.record(roll.target.release, job.record.id)
        except GateError as error:
            output.note(f"    the hosts have the record, ZooKeeper did not take it: {error.what}", style="yellow")


def _give_up(roll: Roll, error: DsdeployError) -> NoReturn:
    """Requests go back to the old release on every host that was touched; then say why, exit code 5."""
    output.note(f"no: {error.what}", style="bold red")
    back(roll, list(error.problems))
    seen = f"{roll.old} serves, on every host" if roll.old else "nothing was switched"
    raise GateError(
        [
            *error.problems,
            Problem(
                f"{roll.target.release} was given up: {seen}; its files stay",
                f"run {roll.job.record.id}",
                "mend what is named above, then: dsdeploy upgrade SITE",
            ),
        ]
    ) from error


def back(roll: Roll, reasons: list[Problem]) -> None:
    """The way back, tried once. Raises PostconditionFailed, with the state as it is, when it cannot be gone."""
    job = roll.job
    job.returning = True
    try:
        _bring_back(roll)
    except DsdeployError as second:
        raise PostconditionFailed(
            [
                *reasons,
                Problem(
                    f"and {roll.old} could not be brought back everywhere: {second.what}", second.where, second.hint
                ),
                *second.problems[1:],
                Problem(
                    "some requests may still go to the new release; both releases' files are kept",
                    f"run {job.record.id}",
                    "dsdeploy status SITE, then dsdeploy abort SITE, which tries again",
                ),
            ]
        ) from second
    finally:
        job.returning = False


def _bring_back(roll: Roll) -> None:
    job, seen = roll.job, moves.look(roll.job.site)
    moved = [name for name, host in seen.hosts.items() if roll.old and not host.serves(roll.old)]
    if moved:
        source = roll.source()
        job.decisions = source.decisions
        # in turn one host after the other, those first that answer nothing now: the rest has to answer meanwhile
        waiting = sorted(moved, key=lambda name: bool(seen.hosts[name].releases))
        for group in [[host] for host in waiting] if roll.strategy.name == "in-turn" else [moved]:
            _return(roll, source, group)
        where = {host: moves.look(roll.job.site).hosts[host].place(roll.old) for host in moved}
        gates.prove(job, where, roll.old, roll.target.release, whole=True)
        roll.cut += moves.drain(job, {host: OTHER[colour] for host, colour in where.items()})
    roll.cut += moves.retire(job, roll.old, only=roll.target.release, step="clear")


def _return(roll: Roll, source: Target, group: list[str]) -> None:
    """These hosts' requests to the old release again; it is started first where it does not run any more."""
    job, seen = roll.job, moves.look(roll.job.site)
    where = {host: seen.hosts[host].place(roll.old) for host in group}
    down = {host: colour for host, colour in where.items() if not seen.hosts[host].places[colour].ready}
    for host, colour in down.items():
        _make_room(roll, seen, host, colour)
    if down:
        moves.start(job, source, down, step="back")
    for router in job.site.with_role("router"):
        moves.switch(job, router, source, where, roll.target.release, step="back")


def _make_room(roll: Roll, seen: View, host: str, colour: Colour) -> None:
    """In turn, the new release has the memory the old one needs: it leaves rotation, then it is stopped."""
    other = OTHER[colour]
    if roll.strategy.name != "in-turn" or not seen.hosts[host].places[other].runs:
        return
    if other in seen.hosts[host].active.values() and not roll.strategy.downtime:
        moves.out(roll.job, host, roll.target.release, step="back")
        roll.cut += moves.drain(roll.job, {host: other})
    moves.stop(roll.job, {host: other}, step="clear")

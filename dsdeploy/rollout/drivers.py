"""The stack on engine hosts: installed where nothing serves, else one drained engine at a time; restarts proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dsdeploy import hosts, output, quorum, rolling
from dsdeploy.errors import GateError, PostconditionFailed, PreflightError, Problem
from dsdeploy.facts import DriverModule, Engines, Srvr, StackState
from dsdeploy.hosts import Reading
from dsdeploy.job import Job
from dsdeploy.releases.view import HostView
from dsdeploy.rollout import gates, moves, run
from dsdeploy.rollout.asked import Asked
from dsdeploy.rollout.target import from_hosts
from dsdeploy.runtimes.groups import group, groups
from dsdeploy.site import Colour
from dsdeploy.stacks import fleet
from dsdeploy.stacks.work import Work, batches, proven, restart, work

READ = (*fleet.READ, Engines)


def bring(job: Job, asked: Asked) -> None:
    """Every engine host to the site's stack. Raises GateError before a host is taken out that the rest cannot spare,
    PreflightError where a host turns out unable, PlaybookFailed where packages cannot be had, PostconditionFailed
    where a restart did not bring the driver."""
    targets = job.targets("engine")
    if job.site.stack == "cpu" or not targets:
        return
    todo = {host: one for host, one in work(job.site, _read(job, targets)).items() if one.any}
    serving = {group(job.site, host) for host, one in todo.items() if one.drained}
    idle = {host: one for host, one in todo.items() if group(job.site, host) not in serving}
    if idle:
        _install(job, idle)
        # what only lies beside the packages is changed under a running engine, and asks for no restart
        for batch in batches(_waiting(job, _quiet(idle)), alone=_needed(job)):
            _restart(job, {host: idle[host] for host in batch}, asked)
    for unit in groups(job.site):
        if unit in serving:
            _drained(job, unit.head, {host: todo[host] for host in unit.hosts if host in todo}, asked)
    _judge(job, targets)


def _read(job: Job, names: Sequence[str]) -> dict[str, Reading]:
    readings = hosts.read(job.site, *READ, names=names)
    if missing := hosts.unreachable(readings):
        raise PreflightError(missing)
    return readings


def _quiet(todo: Mapping[str, Work]) -> dict[str, Work]:
    """Those on which no engine runs."""
    return {host: one for host, one in todo.items() if not one.running}


def _rehearse(job: Job, todo: Mapping[str, Work]) -> None:
    """Whether these hosts can have their packages, asked while they serve: a host that was drained for a change that
    is not possible would be away for nothing. Raises PlaybookFailed with what the host says."""
    orders = {host: one.order for host, one in todo.items() if one.why}
    if orders:
        with job.step("rehearse", f"whether {', '.join(orders)} can have stack {job.site.stack}", hosts=sorted(orders)):
            job.run("rehearse", tuple(orders), replace(job.decisions, stacks=orders))


def _install(job: Job, todo: Mapping[str, Work]) -> None:
    orders = {host: one.order for host, one in todo.items()}
    with job.step("stack", f"stack {job.site.stack} on {', '.join(todo)}", hosts=sorted(todo)):
        job.run("stack", tuple(todo), replace(job.decisions, stacks=orders))


def _waiting(job: Job, todo: Mapping[str, Work]) -> list[str]:
    """Hosts that need a restart now, asked after the packages came."""
    readings = _read(job, tuple(todo))
    return [
        host
        for host, one in todo.items()
        if restart(one.order, readings[host].get(StackState) or StackState(), readings[host].get(DriverModule))
    ]


def _needed(job: Job) -> set[str]:
    """Hosts that do something else than compute: only one of them is away at a time."""
    return {*job.site.with_role("router"), *job.site.with_role("zookeeper")}


def _restart(job: Job, todo: Mapping[str, Work], asked: Asked) -> None:
    """These hosts at once; each has to come back with another boot and the ordered driver."""
    _spared(job, todo)
    _routed(job, todo, asked)
    before = _read(job, tuple(todo))
    orders = {host: one.order for host, one in todo.items()}
    with job.step("restart", f"restart {', '.join(todo)}", hosts=sorted(todo)):
        job.run("restart", tuple(todo), replace(job.decisions, stacks=orders))
    after = _read(job, tuple(todo))
    wrong = [
        Problem(f"{host} was restarted, and {why}", f"host {host}", f"dmesg | grep -i nvidia on {host}")
        for host, one in todo.items()
        if (why := proven(one.order, before[host].get(StackState) or StackState(), after[host].get(StackState),
                          after[host].get(DriverModule)))
    ]  # fmt: skip
    if wrong:
        raise PostconditionFailed(wrong)
    rolling.patient(job.site)


def _spared(job: Job, todo: Mapping[str, Work]) -> None:
    """Raise GateError where the ensemble would not survive it. A host whose member is down anyway may go."""
    members = [host for host in todo if host in job.site.with_role("zookeeper")]
    now = rolling.verdict(job.site, hosts.read(job.site, Srvr, names=job.site.with_role("zookeeper")))
    allowed, why = quorum.may_take_down(now, members) if members else (True, "")
    if not allowed and set(members) & set(now.serving):
        raise GateError(f"{', '.join(todo)} needs a restart, but the ensemble would not survive it: {why}",
                        f"ensemble of {job.site.site}", "dsdeploy status SITE")  # fmt: skip


def _routed(job: Job, todo: Mapping[str, Work], asked: Asked) -> None:
    """Raise GateError where requests are served and no router stays that could take them."""
    leaving = set(todo) & set(job.site.with_role("router"))
    if not leaving or asked.allow_downtime:
        return
    seen = moves.look(job.site)
    if seen.releases and leaving & set(seen.routers) and not set(seen.routers) - leaving:
        raise GateError(
            f"{', '.join(sorted(leaving))} needs a restart, and no other router runs: requests would be refused",
            f"routers of {job.site.site}",
            "start another router; or dsdeploy up SITE --allow-downtime, when nobody needs it",
        )


def _drained(job: Job, host: str, todo: Mapping[str, Work], asked: Asked) -> None:
    """An engine that serves: out of rotation, drained, stopped, changed, started again, back in rotation.
    `host` answers for it; `todo` is what its hosts need, one or all of them."""
    seen = moves.look(job.site).hosts[host]
    colour, release = _serves(seen)
    for name, one in todo.items():
        output.note(f"{name}: {one.why or one.restart}", style="bold")
    _others_serve(job, host, release, asked)
    for batch in batches(todo, alone=_needed(job)):  # as they would be restarted; asked again before each restart
        _spared(job, {name: todo[name] for name in batch})
        _routed(job, {name: todo[name] for name in batch}, asked)
    _rehearse(job, todo)
    if colour:
        gates.allow(job, f"taking {host} out", {}, release)
        moves.out(job, host, release)
        moves.drain(job, {host: colour})
    running: list[Colour] = [c for c, place in seen.places.items() if place.runs]
    for each in running:
        moves.stop(job, {host: each}, step="clear")
    _install(job, todo)
    for batch in batches(_waiting(job, todo), alone=_needed(job)):
        _restart(job, {name: todo[name] for name in batch}, asked)
    if colour:
        source = from_hosts(job.site, hosts.read(job.site, *run.READ), release)
        moves.start(job, source, {host: colour}, step="back")
        for router in job.site.with_role("router"):
            moves.switch(job, router, source, {host: colour}, release, step="back")
        gates.prove(job, {host: colour}, release, release, whole=False)


def _serves(seen: HostView) -> tuple[Colour | None, str]:
    """The colour that takes the host's requests and its release; without routers the one that runs."""
    active = next((colour for colour in seen.active.values() if colour), None)
    colour = active or next((c for c, place in seen.places.items() if place.runs), None)
    return colour, seen.places[colour].release if colour else ""


def _others_serve(job: Job, host: str, release: str, asked: Asked) -> None:
    left = [name for name, other in moves.look(job.site).hosts.items() if name != host and other.serves(release)]
    if not left and not asked.allow_downtime:
        raise GateError(
            f"{host} is the only host that serves {release}: its driver cannot change without downtime",
            f"host {host}",
            "dsdeploy up SITE --allow-downtime, when nobody needs it",
        )


def _judge(job: Job, targets: Sequence[str]) -> None:
    """With a driver the GPUs tell what they are: the stack is judged once more, now that it can be."""
    readings = _read(job, targets)
    found = [problem for host in targets for problem in fleet.problems(job.site, host, readings[host])]
    found += [problem for host in targets if (problem := fleet.silent(job.site, host, readings[host]))]
    if found:
        raise PreflightError(found)

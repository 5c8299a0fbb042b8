"""A run that moves releases: read, plan, lock, begin, the loop, observe, end. What the verbs have in common."""

from __future__ import annotations

import getpass
import hashlib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dsdeploy import ensemble, hooks, hosts, interrupt, journal, output, playbook, prove, quorum, rolling, runs
from dsdeploy import plan as planning
from dsdeploy.backup import play as backups
from dsdeploy.errors import DsdeployError, Fenced, GateError, HostUnreachable, Interrupted, LockHeld, Problem
from dsdeploy.facts import Epoch, Releases
from dsdeploy.hosts import Reading
from dsdeploy.job import Job
from dsdeploy.releases import recover, strategy
from dsdeploy.releases.recover import Past
from dsdeploy.releases.view import view
from dsdeploy.rollout import loop
from dsdeploy.rollout.asked import Asked
from dsdeploy.rollout.loop import Roll
from dsdeploy.rollout.target import Target, from_hosts
from dsdeploy.site import Site
from dsdeploy.stacks import reach

READ = (*planning.READ, Epoch, Releases)

Readings = Mapping[str, Reading]


def digest(site: Site) -> str:
    """What the site file asks for, as 16 hex digits; where its keys lie on this computer does not count."""
    content = site.model_dump(mode="json", exclude={"ssh": True, "engine": {"wheelhouse"}})
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def read(site: Site) -> dict[str, Reading]:
    """Every host, everything the plan and the loop go by. Raises HostUnreachable: no host may be guessed about."""
    with output.step(f"read {len(site.hosts)} hosts"):
        readings = hosts.read(site, *READ)
    if missing := hosts.unreachable(readings):
        raise HostUnreachable(missing)
    return readings


def members(site: Site, readings: Readings, verb: str) -> tuple[str, ...]:
    """Members that serve. Without a quorum: none for `up`, which is what mends an ensemble; for any other verb
    GateError."""
    now = rolling.verdict(site, readings)
    if not now.ok and verb == "up":
        output.note("no ensemble serves: the lock is held on this computer, and the hosts refuse other runs")
        return ()
    if not now.ok:
        now = rolling.patient(site)
    if not now.ok:
        raise GateError(f"no quorum: {now.why}", f"ensemble of {site.site}", quorum.MEND)
    return now.serving


@contextmanager
def session(
    site: Site,
    verb: str,
    readings: Readings,
    asked: Asked,
    left: Past | None = None,
    limit: tuple[str, ...] = (),
    **about: Any,
) -> Iterator[Job]:
    """A run under the lock, its epoch known to every host. `left`: an unfinished run that it takes up again."""
    seen = view(site, readings)
    record = runs.again(site, left.run) if left else runs.new(site, verb)
    header = (
        left.header
        if left and left.header
        else {
            "kind": "begin",
            "run": record.id,
            "verb": verb,
            "site": site.site,
            "user": getpass.getuser(),
            "controller": socket.gethostname(),
            "at": journal.now(),
            "from": seen.serving,
            "version": site.model.version,
            "site_digest": digest(site),
            **about,
        }
    )
    with (
        interrupt.between_steps(),
        ensemble.lock(site, verb, record.id, members(site, readings, verb), recover.epoch(readings)) as lock,
        playbook.connections() as control,
    ):
        _unchanged(site, readings, limit)
        job = Job(site, record, control, lock, {**header, "epoch": lock.epoch}, limit, asked.verbose)
        job.interpreters = reach.interpreters(readings)
        with job.step("begin", f"run {record.id}, epoch {lock.epoch}: tell every host", verb=verb):
            job.run("fence", limit or None)
        yield job


def _unchanged(site: Site, readings: Readings, limit: tuple[str, ...]) -> None:
    """Raise LockHeld if another run was there between the reading and the lock: what was planned is about a site
    that is not so any more."""
    now = hosts.read(site, Epoch, names=limit or None)
    if recover.epoch(now) > recover.epoch(readings):
        names = sorted({seen.run for reading in now.values() if (seen := reading.get(Epoch)) and seen.run})
        raise LockHeld(
            f"run {names[-1]} changed the site after it was read for this one",
            f"site {site.site}",
            "run the same command again",
        )


def go(
    site: Site,
    verb: str,
    readings: Readings,
    asked: Asked,
    find: Callable[[Job], Target],
    left: Past | None = None,
    old: str = "",
    **about: Any,
) -> int:
    """The whole run of a verb: `find` gives the target, and may pull and build for it. Gives the exit code."""
    with session(site, verb, readings, asked, left, **about) as job:
        old = old or (left.source if left else view(site, readings).serving)
        with told(job, left.to if left else "", old):
            target = _found(job, find, old)
            roll_ = move(job, target, old, asked)
        return finished(job, roll_, asked)


def _found(job: Job, find: Callable[[Job], Target], old: str) -> Target:
    """The target; what goes wrong on the way to it touches nothing that serves."""
    try:
        hooks.run(job, "pre-upgrade")
        return find(job)
    except (Fenced, Interrupted):
        raise
    except DsdeployError as error:
        kept = Problem(
            f"{old or 'what served'} serves as before; nothing was switched",
            f"run {job.record.id}",
            "mend what is named above, then run the same command again",
        )
        raise GateError([*error.problems, kept]) from error


def move(job: Job, target: Target, old: str, asked: Asked) -> Roll:
    """The loop, from what takes requests now to the target, and the proof that it is so. Raises as loop.forward
    and prove.healthy."""
    site = job.site
    readings = hosts.read(site, *READ)
    chosen = strategy.choose(site, readings, view(site, readings), target.release, asked.allow_downtime)
    if chosen.problems:
        raise GateError(chosen.problems)
    output.note(f"strategy {chosen.name}: {chosen.why}")
    backups.before_upgrade(job)
    roll_ = Roll(job, target, old, chosen, lambda: from_hosts(site, hosts.read(site, *READ), old))
    loop.forward(roll_)
    with output.step("observe: engines, routers, ensemble"):
        prove.healthy(site, target.release, members=False)
    return roll_


def end(job: Job, outcome: str, to: str, release: str, why: str = "", **more: Any) -> None:
    """The outcome, on every host; `release` is what serves now, `more` is recorded with it."""
    record = {
        "kind": "end",
        "at": journal.now(),
        "epoch": job.lock.epoch,
        "outcome": outcome,
        "to": to,
        "release": release,
        "why": why,
        **more,
    }
    with job.step("end", f"record the outcome: {outcome}", past=True):
        job.run("fence", job.limit or None, record=record)
    job.journal.write("end", **{key: value for key, value in record.items() if key not in ("kind", "at")})


@contextmanager
def told(job: Job, to: str, old: str) -> Iterator[None]:
    """A gate's no is an end of the run as well: the hosts are told, so that nothing is left to resume."""
    try:
        yield
    except GateError as error:
        job.returning = True
        try:
            end(job, "returned", to or str(job.header.get("to", "")), old, error.what)
        except (GateError, HostUnreachable) as second:
            output.note(f"the outcome could not be recorded on every host: {second.what}", style="yellow")
        raise


def finished(job: Job, roll_: Roll, asked: Asked) -> int:
    """Say what was done; the last hook cannot undo it."""
    end(job, "done", roll_.target.release, roll_.target.release)
    try:
        hooks.run(job, "post-upgrade", to=roll_.target.release)
    except GateError as error:
        output.note(f"{error.what}; nothing is undone for it", style="yellow")
    summary = {
        "ok": True,
        "run": job.record.id,
        "release": roll_.target.release,
        "from": roll_.old,
        "strategy": roll_.strategy.name,
        "cut": roll_.cut,
        "changed": job.outcome.changed,
    }
    output.note(f"{job.outcome.changed} changed, {job.outcome.ok} in order; journal in {job.record.folder}")
    if asked.as_json:
        output.emit_json(summary)
    else:
        cut = f", {roll_.cut} requests were cut after the drain time" if roll_.cut else ""
        output.say(f"{job.site.site}: release {roll_.target.release} serves in place of {roll_.old or 'nothing'}{cut}")
    return 0

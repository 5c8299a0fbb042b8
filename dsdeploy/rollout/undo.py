"""Taking back what was left unfinished: what `abort` does, and `rollback` where a run is in the way."""

from __future__ import annotations

from dsdeploy import ensemble, hosts, output, playbook, prove, runs
from dsdeploy.decisions import Decisions
from dsdeploy.job import Job
from dsdeploy.journal import Journal
from dsdeploy.releases import recover, strategy
from dsdeploy.releases.recover import Past
from dsdeploy.releases.view import view
from dsdeploy.rollout import loop, run
from dsdeploy.rollout.asked import REFUSED, Asked
from dsdeploy.rollout.loop import Roll
from dsdeploy.rollout.run import READ, Readings
from dsdeploy.rollout.target import Target, from_hosts
from dsdeploy.site import Site


def undo(site: Site, readings: Readings, asked: Asked, left: Past) -> int:
    """Requests return to the release before, the new one is stopped; its files stay. Raises as loop.back."""
    what = f"the {left.verb} to {left.to or 'a new release'}"
    if not asked.confirmed(f"Take back {what} on {site.site}?"):
        return REFUSED
    with run.session(site, left.verb, readings, asked, left) as job:
        loop.back(_roll(job, readings, left), [])
        if left.source:
            with output.step("observe: engines, routers, ensemble"):
                prove.healthy(site, left.source, members=False)
        run.end(job, "aborted", left.to, left.source)
    return asked.answer(f"{site.site}: {what} was taken back, {left.source or 'nothing'} serves", left.run)


def settle(site: Site, readings: Readings, asked: Asked) -> str:
    """The id of a run that died before it replaced anything, "" where none did. It holds nothing any more: its lock is
    taken over and given back, its connections end, and whoever remembers it knows its end.

    Raises LockHeld when it lives and was only taken for dead.
    """
    if died := recover.unheard(runs.newest(site), readings):
        serving = run.members(site, readings, "up")  # as for `up`: without a quorum the lock is this computer's alone
        with playbook.connections(), ensemble.lock(site, "abort", died.id, serving, recover.epoch(readings)):
            Journal(died.folder).write("end", outcome="aborted")
        return died.id
    if past := recover.replaced_nothing(readings):
        with run.session(site, past.verb, readings, asked, past) as job:
            run.end(job, "aborted", past.to, past.source)
        return past.run
    return ""


def bury(site: Site, readings: Readings) -> None:
    """A run of this computer that did all it was to do, and died before it had noted so here, holds nothing any more.

    Raises LockHeld when it lives.
    """
    if found := recover.untold(runs.newest(site), readings):
        died, past = found
        serving = run.members(site, readings, "up")
        with playbook.connections(), ensemble.lock(site, past.verb, died.id, serving, recover.epoch(readings)):
            Journal(died.folder).write("end", outcome=past.outcome)


def _roll(job: Job, readings: Readings, left: Past) -> Roll:
    """The unfinished run as `loop.back` undoes it; its release need not be whole on any host."""
    site = job.site
    chosen = strategy.choose(site, readings, view(site, readings), left.to, allow_downtime=True)
    target = Target(left.to, site, Decisions(release=left.to))
    return Roll(job, target, left.source, chosen, lambda: from_hosts(site, hosts.read(site, *READ), left.source))

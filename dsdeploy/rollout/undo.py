"""Taking back an upgrade that was left unfinished: what `abort` does, and `rollback` where one is in the way."""

from __future__ import annotations

from dsdeploy import hosts, output, prove
from dsdeploy.decisions import Decisions
from dsdeploy.job import Job
from dsdeploy.releases import strategy
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


def _roll(job: Job, readings: Readings, left: Past) -> Roll:
    """The unfinished run as `loop.back` undoes it; its release need not be whole on any host."""
    site = job.site
    chosen = strategy.choose(site, readings, view(site, readings), left.to, allow_downtime=True)
    target = Target(left.to, site, Decisions(release=left.to))
    return Roll(job, target, left.source, chosen, lambda: from_hosts(site, hosts.read(site, *READ), left.source))

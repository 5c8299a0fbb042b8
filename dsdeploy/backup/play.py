"""Plays of backups: the program on the hosts, asked by an operator or by an upgrade; and the timers, by `up`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dsdeploy import hosts, inventory, output, playbook
from dsdeploy.backup import keys
from dsdeploy.decisions import Order
from dsdeploy.errors import DsdeployError, Fenced, GateError, Interrupted, Problem
from dsdeploy.events import Outcome
from dsdeploy.facts import Interpreter
from dsdeploy.playbook import Play
from dsdeploy.runs import Run
from dsdeploy.site import Site
from dsdeploy.stacks import reach

if TYPE_CHECKING:
    from dsdeploy.job import Job

PREPARED = frozenset({"up", "upgrade"})  # verbs that bring a new release; going back must not wait for a backup


def wanted(site: Site) -> None:
    """Raise DsdeployError where the site file has no backups."""
    if site.backup is None:
        what = f"{site.site} has no backups: its site file has no section `backup`"
        raise DsdeployError(
            what, site.file.name, "add one (dsdeploy init shows it), then dsdeploy up SITE --only backup"
        )


def program(site: Site, words: Sequence[str], names: Sequence[str], record: Run) -> Outcome:
    """Have the backup program do something on these hosts; what it says there is shown. Not fenced: it makes and
    reads snapshots, and a restore holds the site's lock. Raises as playbook.run does."""
    found = reach.interpreters(hosts.read(site, Interpreter, names=names or None))
    with playbook.connections() as control:
        path = inventory.write(site, record.folder, order=Order(words=tuple(words), interpreters=found))
        outcome = playbook.run(Play("backup", path, tuple(names)), record, control)
    for notice in outcome.notices:
        output.note(f"    {notice}")
    return outcome


def keep(job: Job) -> None:
    """Timers for backups and logs on the hosts, where the site file asks for them."""
    site = job.site
    if site.backup is None and site.logs is None:
        return
    keys.write(site)
    with job.step("keep", "timers for backups and logs", past=True):
        job.run("keep", job.limit or None)


def before_upgrade(job: Job) -> None:
    """A snapshot of every host before anything is switched. Raises GateError: nothing was touched then."""
    if job.site.backup is None or job.header.get("verb") not in PREPARED:
        return
    try:
        keys.write(job.site)
        with job.step("snapshot", "a snapshot of every host before anything is switched"):
            job.run("keep", None)  # a section that was just written has no program on the hosts yet
            job.run("backup", None, words=("run",))
    except (Fenced, Interrupted):
        raise
    except DsdeployError as error:
        hint = "mend what is named above; or run `dsdeploy up SITE --only backup` where it was never put in place"
        kept = Problem("no snapshot, so no upgrade; nothing was switched", f"run {job.record.id}", hint)
        raise GateError([*error.problems, kept]) from error

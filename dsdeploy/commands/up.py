"""`dsdeploy up`: bring the whole site to its description, and prove it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from dsdeploy import output, runs
from dsdeploy.commands import plan as plan_command
from dsdeploy.site import load

REFUSED = 1


def up(path: Path, *, yes: bool, only: str | None, limit: tuple[str, ...], as_json: bool, verbose: int) -> int:
    """Load, read, plan, confirm, lock, run, observe. Exit code 0 only if the postconditions were observed."""
    started = monotonic()
    site = load(path)
    from dsdeploy import converge, decide, ensemble, hosts, playbook, prove, roll
    from dsdeploy import plan as planning

    with output.step(f"read {len(limit or site.hosts)} hosts"):
        readings = hosts.read(site, *planning.READ, names=limit or None)
    made = planning.make(site, readings, decide.expected_release(site, readings))
    if not as_json:
        plan_command.show(made, as_json=False)
    made.refuse()
    if made.actions and not yes and not output.confirm(f"Go on with {site.site}?"):
        output.note("nothing was changed; --yes goes on without asking")
        return REFUSED

    record = runs.new(site, "up")
    member = roll.verdict(site, readings).leader
    if member is None:
        output.note("no ensemble serves yet: the lock is held on this computer only")
    with ensemble.lock(site, "up", record.id, member) as lock, playbook.connections() as control:
        job = converge.Converge(site, record, control, lock, limit, verbose)
        for stage in converge.stages(only):
            stage(job)
    done, release = job.outcome, job.decisions.release or None
    if only is None:
        with output.step("observe: engines, routers, ensemble"):
            prove.healthy(site, release, limit)
    summary = f"{done.changed} changed, {done.ok} in order, {monotonic() - started:.0f} s"
    output.note(f"{summary}; logs in {record.folder}")
    if as_json:
        output.emit_json({"ok": True, "changed": done.changed, "release": release, "run": record.id})
    elif release:
        output.say(f"{site.site}: release {release} serves; {summary}")
    return 0

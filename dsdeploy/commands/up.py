"""`dsdeploy up`: bring the whole site to its description, and prove it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from dsdeploy import output
from dsdeploy.commands import plan as plan_command
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.rollout.asked import Asked


def up(path: Path, asked: Asked, *, only: str | None, limit: tuple[str, ...]) -> int:
    """Load, read, plan, confirm, lock, run, observe. Exit code 0 only if the postconditions were observed."""
    started = monotonic()
    site = load(path)
    from dsdeploy import applied, converge, decide, hosts, prove
    from dsdeploy import plan as planning
    from dsdeploy.releases import recover
    from dsdeploy.rollout import run
    from dsdeploy.rollout.asked import REFUSED

    with output.step(f"read {len(limit or site.hosts)} hosts"):
        readings = hosts.read(site, *run.READ, names=limit or None)
    expected = decide.expected_release(site, readings)
    left = recover.unfinished(readings)
    recover.same_way(left, expected, site.file.name)
    made = planning.make(site, readings, expected, asked.allow_downtime, only)
    if not asked.as_json:
        plan_command.show(made, as_json=False)
    made.refuse()
    if made.actions and not asked.confirmed(f"Go on with {site.site}?"):
        return REFUSED

    with run.session(site, "up", readings, asked, left, limit=limit, to=expected or "") as job:
        old = str(job.header["from"])
        with run.told(job, expected or "", old):
            for stage in converge.stages(only):
                stage(job, asked)
        release = job.decisions.release or None
        if only is None:
            with output.step("observe: engines, routers, ensemble"):
                prove.healthy(site, release, limit)
        run.end(job, "done", release or "", release or old, applied=applied.record(site, only))
    done = job.outcome
    summary = f"{done.changed} changed, {done.ok} in order, {monotonic() - started:.0f} s"
    output.note(f"{summary}; logs in {job.record.folder}")
    if asked.as_json:
        output.emit_json({"ok": True, "changed": done.changed, "release": release, "run": job.record.id})
    elif release:
        output.say(f"{site.site}: release {release} serves; {summary}")
    return 0

"""`dsdeploy upgrade`: the release the site file asks for in place of the one that serves, without a failed request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy import output
from dsdeploy.commands import plan as plan_command
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.rollout.asked import Asked


def upgrade(path: Path, asked: Asked) -> int:
    """Everything is prepared while the old release serves; then batch by batch, gate by gate."""
    site = load(path)
    from dsdeploy import decide, prove
    from dsdeploy import plan as planning
    from dsdeploy.errors import DsdeployError
    from dsdeploy.releases import recover
    from dsdeploy.releases.view import view
    from dsdeploy.rollout import prepared, run, undo
    from dsdeploy.rollout.asked import REFUSED

    readings = run.read(site)
    expected = decide.expected_release(site, readings)
    left = recover.unfinished(readings)
    recover.same_way(left, expected, site.file.name)
    seen = view(site, readings)
    if not seen.releases:
        raise DsdeployError("no release serves, so there is none to upgrade", f"site {site.site}", "dsdeploy up SITE")
    if left is None and expected and not seen.needs(expected) and not seen.pending(expected):
        with output.step("observe: engines, routers, ensemble"):
            prove.healthy(site, expected, members=False)
        undo.bury(site, readings)
        return _nothing(site.site, expected, asked)
    made = planning.make(site, readings, expected, asked.allow_downtime)
    if not asked.as_json:
        plan_command.show(made, as_json=False)
    made.refuse()
    if left:
        output.note(f"going on with run {left.run} of {left.who}, left at step {left.step}", style="bold")
    if not asked.confirmed(f"Replace {made.serving} on {site.site}?"):
        return REFUSED
    return run.go(site, "upgrade", readings, asked, prepared.prepared, left, to=expected or "")


def members(path: Path, asked: Asked) -> int:
    """`--component zookeeper`: the ensemble as the site file says, one member at a time, the leader last."""
    site = load(path)
    from dsdeploy import converge, quorum, rolling
    from dsdeploy.errors import GateError
    from dsdeploy.rollout import run
    from dsdeploy.rollout.asked import REFUSED

    readings = run.read(site)
    now = rolling.patient(site)
    follower = next((name for name in now.voters if name != now.leader), None)
    allowed, why = quorum.may_take_down(now, [follower] if follower else [])
    if not allowed:
        raise GateError(f"no member may be restarted: {why}", f"ensemble of {site.site}", quorum.MEND)
    if not asked.confirmed(f"Roll the ensemble of {site.site}, one member at a time?"):
        return REFUSED
    with run.session(site, "members", readings, asked, component="zookeeper") as job:
        converge.ensemble(job, asked)
        run.end(job, "done", "", str(job.header.get("from", "")))
    output.say(f"{site.site}: {job.outcome.changed} changed; {rolling.now(site).why}")
    return 0


def _nothing(site: str, release: str, asked: Asked) -> int:
    if asked.as_json:
        output.emit_json({"ok": True, "run": None, "release": release, "from": release, "changed": 0})
    else:
        output.say(f"{site}: nothing to upgrade, {release} serves on every host")
    return 0

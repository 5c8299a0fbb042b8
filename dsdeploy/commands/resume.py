"""`dsdeploy resume`: finish a run that was left unfinished, forward, from any computer that has the site file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy import output
from dsdeploy.errors import DsdeployError
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.rollout.asked import Asked


def resume(path: Path, asked: Asked) -> int:
    """What the hosts remember is enough where the release is whole on them; before that, the same site file."""
    site = load(path)
    from dsdeploy.releases import recover
    from dsdeploy.rollout import prepared, run, target, undo

    readings = run.read(site)
    left = recover.unfinished(readings)
    if left is None:
        undo.bury(site, readings)
        return asked.answer(f"{site.site}: nothing to resume, no run was left unfinished")
    if not left.source:
        raise DsdeployError(
            f"run {left.run} replaced nothing, so there is no upgrade to resume",
            f"site {site.site}",
            "dsdeploy up SITE",
        )
    output.note(f"run {left.run} of {left.who}: {left.verb} to {left.to or 'a new release'}, left at step {left.step}")
    if left.to and target.complete(site, readings, left.to):
        return run.go(site, left.verb, readings, asked, lambda job: target.from_hosts(site, readings, left.to), left)
    if left.header.get("site_digest") != run.digest(site):
        raise DsdeployError(
            f"{site.file.name} is not what it was when run {left.run} began, "
            f"and {left.to or 'its release'} is not whole on the hosts yet",
            f"run {left.run}",
            "dsdeploy abort SITE, then dsdeploy upgrade SITE",
        )
    return run.go(site, left.verb, readings, asked, prepared.prepared, left)

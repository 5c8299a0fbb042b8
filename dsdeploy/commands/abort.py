"""`dsdeploy abort`: take back an upgrade that was left unfinished."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy.errors import DsdeployError
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.rollout.asked import Asked


def abort(path: Path, asked: Asked) -> int:
    """Only before the commit: after it there is the way forward, and then a rollback."""
    site = load(path)
    from dsdeploy.releases import recover
    from dsdeploy.rollout import run, undo

    readings = run.read(site)
    left = recover.unfinished(readings)
    if left is None and (died := undo.settle(site, readings, asked)):
        return asked.answer(f"{site.site}: nothing to take back: run {died} ended before it replaced anything", died)
    if left is None:
        undo.bury(site, readings)
        return asked.answer(f"{site.site}: nothing to abort, no run was left unfinished")
    if left.verb == "rollback":
        raise DsdeployError("a rollback is not taken back", f"run {left.run}", "dsdeploy resume SITE finishes it")
    if left.committed:
        raise DsdeployError(
            f"{left.to} serves on every host already, there is only the way forward",
            f"run {left.run}",
            "dsdeploy resume SITE finishes it; dsdeploy rollback SITE returns to the release before",
        )
    return undo.undo(site, readings, asked, left)

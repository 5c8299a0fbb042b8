"""`dsdeploy rollback`: the release before the one that serves, by the same loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy.errors import DsdeployError
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.releases.recover import Past
    from dsdeploy.rollout.asked import Asked


def rollback(path: Path, asked: Asked, to: str | None) -> int:
    """An upgrade that was left unfinished is taken back instead. With nothing to roll back: a no-op that says so."""
    site = load(path)
    from dsdeploy.releases import recover
    from dsdeploy.releases.view import view
    from dsdeploy.rollout import run, target, undo
    from dsdeploy.rollout.asked import REFUSED

    readings = run.read(site)
    left, serving = recover.unfinished(readings), view(site, readings).serving
    if left and left.verb != "rollback" and not left.committed:
        return undo.undo(site, readings, asked, left)
    if left is None and to is None and (died := undo.settle(site, readings, asked)):
        told = f"{site.site}: nothing to roll back: run {died} ended before it replaced anything, {serving} serves"
        return asked.answer(told, died)
    again = left if left and left.verb == "rollback" else None
    wanted = _again(again, to) if again else to or _before(left, recover.before(readings, serving))
    if not wanted or (wanted == serving and not again):
        others = [release for release in target.available(site, readings) if release != serving]
        way = f"; --to goes to {' or '.join(others)}" if others else ""
        why = (
            f"{serving} serves already"
            if wanted
            else f"no upgrade that could be undone brought {serving or 'anything'}"
        )
        if left is None:
            undo.bury(site, readings)
        return asked.answer(f"{site.site}: nothing to roll back: {why}{way}")
    found = target.from_hosts(site, readings, wanted)  # refuses here, before anything is touched, if a part is missing
    if not asked.confirmed(f"Bring back {wanted} in place of {serving} on {site.site}?"):
        return REFUSED
    return run.go(site, "rollback", readings, asked, lambda job: found, again, to=wanted)


def _again(left: Past, to: str | None) -> str:
    if to and to != left.to:
        raise DsdeployError(
            f"a rollback to {left.to} was left unfinished", f"run {left.run}", "dsdeploy resume SITE finishes it"
        )
    return left.to


def _before(left: Past | None, past: Past | None) -> str:
    """What an upgrade replaced: one that is past its commit but not finished, else the last one that was."""
    if left:
        return left.source
    return past.source if past and past.verb != "rollback" else ""

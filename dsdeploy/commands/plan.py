"""`dsdeploy plan`: what `up` would do on each host, and why; changes nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dsdeploy import output
from dsdeploy.errors import HostUnreachable, PreflightError
from dsdeploy.output import size
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.releases.strategy import Strategy


def plan(path: Path, *, as_json: bool, limit: tuple[str, ...], allow_downtime: bool = False) -> int:
    """Exit code 0 when `up` could start, 1 or 4 when something stands in the way."""
    site = load(path)
    from dsdeploy import decide, hosts
    from dsdeploy import plan as planning

    with output.step(f"read {len(limit or site.hosts)} hosts"):
        readings = hosts.read(site, *planning.READ, names=limit or None)
    made = planning.make(site, readings, decide.expected_release(site, readings), allow_downtime)
    show(made, as_json=as_json)
    if made.unreachable:
        return HostUnreachable.exit_code
    return PreflightError.exit_code if made.problems else 0


def show(made: object, *, as_json: bool) -> None:
    """The plan as a table, problems first; or as JSON."""
    from dsdeploy.plan import Plan

    assert isinstance(made, Plan)
    problems = (*made.unreachable, *made.problems)
    if as_json:
        output.emit_json(
            {
                "release": made.release,
                "serving": made.serving,
                "actions": [vars(action) for action in made.actions],
                "rollout": asdict(made.rollout) if made.rollout else None,
                "problems": [output.problem_dict(problem) for problem in problems],
                **({"warnings": [warning.what for warning in made.warnings]} if made.warnings else {}),
            }
        )
        return
    if made.actions:
        rows = [(action.host, action.stage, action.what, action.why) for action in made.actions]
        output.table(("host", "stage", "what", "because"), rows)
    else:
        output.say(f"nothing to change: {made.serving or 'nothing'} serves, as the site file says")
    if made.rollout:
        _show_rollout(made.rollout, made.serving or "several releases", made.release or "the release of the site file")
    for warning in made.warnings:
        output.note(f"warning: {warning.what}", style="yellow")
    output.errors(problems)


def _show_rollout(rollout: Strategy, serving: str, release: str) -> None:
    """How one release replaces the other, and what is left to answer requests meanwhile."""
    output.say(f"{release} replaces {serving} {rollout.name}: {rollout.why}")
    moved = "an unknown number of bytes" if rollout.bytes_to_move is None else size(rollout.bytes_to_move)
    output.say(f"to pull, on each host: {moved}")
    total = sum(len(batch) for batch in rollout.batches)
    rows = [
        (
            str(number) + (" (canary)" if number == 1 and rollout.canary < total else ""),
            ", ".join(batch),
            f"{left} of {max(rollout.capacity, default=0) if rollout.name == 'side-by-side' else total} hosts",
        )
        for number, (batch, left) in enumerate(zip(rollout.batches, rollout.capacity, strict=True), 1)
    ]
    output.table(("batch", "hosts", "take requests meanwhile"), rows)
    if rollout.downtime:
        output.say("requests fail from the stop of the old release until the new one answers")

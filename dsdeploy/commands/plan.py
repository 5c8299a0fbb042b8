"""`dsdeploy plan`: what `up` would do on each host, and why; changes nothing."""

from __future__ import annotations

from pathlib import Path

from dsdeploy import output
from dsdeploy.errors import HostUnreachable, PreflightError
from dsdeploy.site import load


def plan(path: Path, *, as_json: bool, limit: tuple[str, ...]) -> int:
    """Exit code 0 when `up` could start, 1 or 4 when something stands in the way."""
    site = load(path)
    from dsdeploy import decide, hosts
    from dsdeploy import plan as planning

    with output.step(f"read {len(limit or site.hosts)} hosts"):
        readings = hosts.read(site, *planning.READ, names=limit or None)
    made = planning.make(site, readings, decide.expected_release(site, readings))
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
                "problems": [output.problem_dict(problem) for problem in problems],
            }
        )
        return
    if made.actions:
        rows = [(action.host, action.stage, action.what, action.why) for action in made.actions]
        output.table(("host", "stage", "what", "because"), rows)
    else:
        output.say(f"nothing to change: {made.serving or 'nothing'} serves, as the site file says")
    output.errors(problems)

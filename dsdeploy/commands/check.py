"""`dsdeploy check`: the site file and every host, all problems at once; changes nothing."""

from __future__ import annotations

from pathlib import Path

from dsdeploy import output
from dsdeploy.errors import HostUnreachable, PreflightError
from dsdeploy.site import load


def check(path: Path, *, as_json: bool, limit: tuple[str, ...]) -> int:
    """Exit code 0 when `up` could start; raises with every problem otherwise."""
    site = load(path)
    from dsdeploy import hosts, plan

    with output.step(f"read {len(limit or site.hosts)} hosts"):
        readings = hosts.read(site, *plan.READ, names=limit or None)
    found = plan.make(site, readings, None)
    if as_json:
        problems = [output.problem_dict(p) for p in (*found.unreachable, *found.problems)]
        warned = {} if site.stack == "cpu" else {"warnings": [warning.what for warning in found.warnings]}
        output.emit_json(
            {"ok": not problems, "site": site.site, "hosts": list(readings), "problems": problems, **warned}
        )
        if problems:
            return HostUnreachable.exit_code if found.unreachable else PreflightError.exit_code
        return 0
    for warning in found.warnings:
        output.note(f"warning: {warning.what}", style="yellow")
    found.refuse()
    output.say(f"{site.site}: {len(readings)} hosts answer, nothing stands in the way of: dsdeploy up {path}")
    return 0

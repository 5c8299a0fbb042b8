"""`dsdeploy check`: the site file and every host, all problems at once; changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsdeploy import output
from dsdeploy.errors import HostUnreachable, PreflightError, Problem, SiteError
from dsdeploy.site import load

if TYPE_CHECKING:
    from dsdeploy.fabric.acceptance import Report


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


def measure(path: Path, *, as_json: bool, limit: tuple[str, ...], while_serving: bool) -> int:
    """`--fabric`: exit code 0 when every host and pair reached what it must; raises with every problem otherwise."""
    site = load(path)
    if site.fabric is None:
        hint = "add it: dsdeploy init shows its fields"
        raise SiteError([Problem("the site has no section fabric, so there is none to measure", site.file.name, hint)])
    from dsdeploy import hosts, ssh
    from dsdeploy.fabric import acceptance, judge

    names = [name for name in site.with_role("engine") if not limit or name in limit]
    with output.step(f"read {len(names)} engine hosts"):
        before = hosts.read(site, *acceptance.READ, names=names)
    if away := hosts.unreachable(before):
        raise HostUnreachable(away)
    if not while_serving and (serving := acceptance.busy(site, before)):
        raise PreflightError(serving)
    report = acceptance.begin(site, before)
    with output.step("measure: Ctrl-C ends it here and on the hosts") as say:
        shells = ssh.Shells(site, list(report.nodes))
        try:
            acceptance.run(site, report, shells, say)
        finally:
            shells.close()
    acceptance.conclude(report, before, hosts.read(site, *judge.DEEP, names=names))
    if as_json:
        output.emit_json({"ok": not report.problems, "site": site.site, **_measured(report)})
        return PreflightError.exit_code if report.problems else 0
    _show(report)
    if report.problems:
        raise PreflightError(report.problems)
    output.say(f"{site.site}: the fabric of {len(report.nodes)} hosts reaches what it must")
    return 0


def _measured(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "hosts": {name: asdict(node) for name, node in report.nodes.items()},
        "alone": [asdict(one) | {"good": one.good} for one in report.alone],
        "pairs": [asdict(one) | {"good": one.good} for one in report.pairs],
        "dcgm": {name: asdict(found) for name, found in report.diagnoses.items()},
        "counters": report.grown,
        "problems": [output.problem_dict(problem) for problem in report.problems],
        "warnings": [output.problem_dict(problem) for problem in report.warnings],
    }


def _show(report: Report) -> None:
    from dsdeploy.fabric import matrix
    from dsdeploy.fabric.figures import figures

    alone = [(one.hosts[0], _figure(one.value), _figure(one.wanted), one.what) for one in report.alone]
    output.table(("HOST", "ALL_REDUCE GB/s", "WANTED", "BY"), alone, "GPUs of one host")
    for kind, title in (("write", "ib_write_bw, Gb/s, slowest port"), ("all_reduce", "all_reduce, GB/s (bus)")):
        values = report.matrix(kind)
        if values:
            slow = matrix.outliers(values, figures().outlier)
            names = list(report.nodes)
            output.table(("", *names), matrix.rows(names, values, slow), f"{title} (! is out of line)")
    for name, found in report.diagnoses.items():
        output.say(f"DCGM on {name}: {found.passed} passed, {len(found.failed)} failed, {found.skipped} left out")
    for node in report.nodes.values():
        told = " ".join(f"{key}={value}" for key, value in node.environment.items())
        output.say(f"engines on {node.name} get: {told or 'nothing'}")
    for warning in report.warnings:
        output.note(f"warning: {warning.what}", style="yellow")


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"

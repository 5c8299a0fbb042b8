"""What the engines of each host are told about the fabric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dsdeploy.errors import PreflightError, Problem
from dsdeploy.fabric import judge

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site


def of_hosts(site: Site, readings: Mapping[str, Reading]) -> dict[str, dict[str, str]]:
    """Host -> variables, for the engine hosts among these readings; empty for a site without a fabric.

    A host that can have none is left out: the way back to an earlier release must not hang on a bad cable.
    """
    found = {}
    for host, reading in readings.items():
        choice = judge.chosen(site, host, reading)
        if choice and choice.environment:
            found[host] = choice.environment
    return found


def required(site: Site, readings: Mapping[str, Reading]) -> dict[str, dict[str, str]]:
    """The same, for a release that is to be started: raises PreflightError where a host can have none."""
    found = of_hosts(site, readings)
    missing = [] if site.fabric is None else [host for host in site.with_role("engine") if host in readings]
    bad = []
    for host in (name for name in missing if name not in found):
        choice = judge.chosen(site, host, readings[host])
        why = "; ".join(choice.problems) if choice else "its RDMA devices could not be read"
        bad.append(Problem(f"fabric of {host}: {why}", f"host {host}", "dsdeploy check SITE --fabric"))
    if bad:
        raise PreflightError(bad)
    return found

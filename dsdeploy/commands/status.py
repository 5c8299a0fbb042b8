"""`dsdeploy status`: what serves, where, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from dsdeploy import hosts, observe, output, site
from dsdeploy.backup import ages
from dsdeploy.site import Site
from dsdeploy.state import HostStatus, Status

HEALTHY, UNHEALTHY = 0, 1


def status(site_path: Path, as_json: bool = False, limit: Sequence[str] | None = None) -> int:
    """Read all hosts, print what is so; 0 when healthy, 1 when not or when a host cannot be read.

    With a limit only those hosts are shown and counted, but all are read: the quorum needs them.
    """
    wanted = site.load(site_path)
    shown = hosts.chosen(wanted, limit or None)
    found = observe.status(wanted, hosts.read(wanted, *observe.KINDS), shown)
    if as_json:
        output.emit_json(found.as_json())
    else:
        show(found, wanted)
    return HEALTHY if found.healthy else UNHEALTHY


def show(found: Status, wanted: Site) -> None:
    """The verdict, a line for each host, then every problem and warning. Fits 80 columns."""
    output.console().print(Text(found.verdict, style="bold green" if found.healthy else "bold red"))
    output.table(
        ("HOST", "RELEASE", "COLOUR", "ENGINE", "ROUTER", "ZOOKEEPER", *ages.columns(wanted)),
        [(*_row(name, host, found), *ages.cells(wanted, host.kept)) for name, host in found.hosts.items()],
    )
    if found.unfinished:
        output.say(f"{found.unfinished}. dsdeploy lock show tells whether it is under way; if not: dsdeploy resume")
    for name, problem in found.named():
        output.say(f"problem: {f'{name}: ' if name else ''}{problem}")
    warned: dict[str, list[str]] = {}
    for name, host in found.hosts.items():
        for warning in host.warnings:
            warned.setdefault(warning, []).append(name)
    for warning, names in warned.items():
        output.say(f"warning: {', '.join(names)}: {warning}")


def _row(name: str, host: HostStatus, found: Status) -> tuple[str, ...]:
    if not host.reachable:
        return (name, "-", "-", "unreachable", "-", "-")
    router = found.routers.get(name)
    up = "-" if router is None else f"{router.backends_up} up" if router.active else "down"
    shown = (host.release, host.colour, host.engine, up, host.zookeeper)
    return (name, *(text or "-" for text in shown))

"""`dsdeploy status`: what serves, where, how busy it is, and what is wrong; once, or again and again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from rich.text import Text

from dsdeploy import figures, hosts, observe, output, site
from dsdeploy.backup import ages
from dsdeploy.errors import DsdeployError
from dsdeploy.state import HostStatus, Status

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dsdeploy.site import Site

HEALTHY, UNHEALTHY, INTERRUPTED = 0, 1, 130
AGAIN_S = 2.0  # from the end of one look to the next


def status(site_path: Path, as_json: bool = False, limit: Sequence[str] | None = None) -> int:
    """Read all hosts, print what is so; 0 when healthy, 1 when not or when a host cannot be read.

    With a limit only those hosts are shown and counted, but all are read: the quorum needs them.
    """
    wanted = site.load(site_path)
    found = look(wanted, hosts.chosen(wanted, limit or None))
    if as_json:
        output.emit_json(found.as_json())
    else:
        show(found, wanted)
    return HEALTHY if found.healthy else UNHEALTHY


def watch(site_path: Path, limit: Sequence[str] | None = None) -> int:
    """The same on a screen of its own, drawn over in place until Ctrl-C; what was seen last stays on the terminal.

    Raises DsdeployError where there is no terminal to draw on.
    """
    if not output.console().is_terminal:
        raise DsdeployError("--watch draws on a terminal, and this is none", "standard output", "dsdeploy status SITE")
    wanted = site.load(site_path)
    shown = hosts.chosen(wanted, limit or None)
    found: Status | None = None
    try:
        with output.screen() as draw:
            draw([Text(f"{wanted.site}: reading {len(wanted.hosts)} hosts")])
            while True:
                found = look(wanted, shown)
                draw([*parts(found, wanted), Text(f"{datetime.now():%H:%M:%S}, Ctrl-C ends", style="dim")])
                sleep(AGAIN_S)
    except KeyboardInterrupt:
        if found:
            show(found, wanted)
    return INTERRUPTED


def look(wanted: Site, shown: Sequence[str]) -> Status:
    """Every host read once, and the whole judged."""
    readings = hosts.read(wanted, *observe.KINDS, *figures.READ)
    return figures.known(observe.status(wanted, readings, shown), readings)


def show(found: Status, wanted: Site) -> None:
    for part in parts(found, wanted):
        output.console().print(part)


def parts(found: Status, wanted: Site) -> Iterator[RenderableType]:
    """The verdict, a line for each host, how busy it is, then every problem and warning. Fits 80 columns."""
    yield Text(found.verdict, style="bold green" if found.healthy else "bold red")
    rows = [(*_row(name, host, found), *ages.cells(wanted, host.kept)) for name, host in found.hosts.items()]
    yield output.grid(("HOST", "RELEASE", "COLOUR", "ENGINE", "ROUTER", "ZOOKEEPER", *ages.columns(wanted)), rows)
    busy = [_busy(name, host.figures) for name, host in found.hosts.items() if host.figures]
    if busy:
        yield output.grid(("HOST", "REQ/S", "TOK/S", "GPU", "DISK"), busy)
    if found.unfinished:
        yield Text(f"{found.unfinished}. dsdeploy lock show tells whether it is under way; if not: dsdeploy resume")
    for name, problem in found.named():
        yield Text(f"problem: {f'{name}: ' if name else ''}{problem}")
    warned: dict[str, list[str]] = {}
    for name, host in found.hosts.items():
        for warning in host.warnings:
            warned.setdefault(warning, []).append(name)
    for warning, names in warned.items():
        yield Text(f"warning: {', '.join(names)}: {warning}")


def _busy(name: str, figures: dict[str, float]) -> tuple[str, ...]:
    rates = (figures.get(key) for key in ("requests_per_second", "tokens_per_second"))
    shares = (figures.get(key) for key in ("gpu_used", "disk_used"))
    return (
        name,
        *("-" if rate is None else f"{rate:.1f}" for rate in rates),
        *("-" if share is None else f"{share:.0%}" for share in shares),
    )


def _row(name: str, host: HostStatus, found: Status) -> tuple[str, ...]:
    if not host.reachable:
        return (name, "-", "-", "unreachable", "-", "-")
    router = found.routers.get(name)
    up = "-" if router is None else f"{router.backends_up} up" if router.active else "down"
    shown = (host.release, host.colour, host.engine, up, host.zookeeper)
    return (name, *(text or "-" for text in shown))

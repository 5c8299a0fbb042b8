"""`dsdeploy backup`: make, list and prove the hosts' own backups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsdeploy import output
from dsdeploy.errors import HostUnreachable
from dsdeploy.site import Site, load

if TYPE_CHECKING:
    from dsdeploy.facts.backups import Backups
    from dsdeploy.hosts import Reading

GOOD, BAD = 0, 1


def run(path: Path, limit: Sequence[str], full: bool) -> int:
    """A backup on every host, now; 0 only if each is good, here and offsite."""
    site = load(path)
    from dsdeploy import hosts, runs
    from dsdeploy.backup import play

    play.wanted(site)
    names = hosts.chosen(site, limit or None)
    play.program(site, ("run", *(("--full",) if full else ())), names, runs.new(site, "backup"))
    return show(site, names, as_json=False)


def verify(path: Path, limit: Sequence[str]) -> int:
    """Every snapshot restored and compared again; raises PlaybookFailed naming the hosts where one is bad."""
    site = load(path)
    from dsdeploy import hosts, runs
    from dsdeploy.backup import play

    play.wanted(site)
    names = hosts.chosen(site, limit or None)
    play.program(site, ("verify",), names, runs.new(site, "backup"))
    return show(site, names, as_json=False)


def listed(path: Path, limit: Sequence[str], as_json: bool) -> int:
    """What there is; 0 when every host has a good snapshot (and offsite, where the site has one)."""
    site = load(path)
    from dsdeploy import hosts
    from dsdeploy.backup import play

    play.wanted(site)
    return show(site, hosts.chosen(site, limit or None), as_json)


def show(site: Site, names: Sequence[str], as_json: bool) -> int:
    """Read and print the hosts' snapshots; 4 when a host cannot be read."""
    from dsdeploy import hosts
    from dsdeploy.facts.backups import Backups

    readings = hosts.read(site, Backups, names=names)
    found = {name: reading.get(Backups) for name, reading in readings.items()}
    wrong = {name: why for name in names if (why := _wrong(site, found[name], readings[name]))}
    if as_json:
        output.emit_json({"ok": not wrong, "problems": wrong, "hosts": {n: _document(b) for n, b in found.items()}})
    else:
        rows = [row for name, backups in found.items() if backups for row in _rows(name, backups)]
        output.table(("HOST", "NUMBER", "SNAPSHOT", "KIND", "AT", "SIZE", "OFFSITE", "STATE"), rows)
        for name, why in wrong.items():
            output.say(f"{name}: {why}")
    silent = [name for name, reading in readings.items() if not reading.reachable]
    return HostUnreachable.exit_code if silent else BAD if wrong else GOOD


def _wrong(site: Site, backups: Backups | None, reading: Reading) -> str:
    """What speaks against a host's backups; "" when nothing does."""
    if backups is None:
        return reading.error or "; ".join(reading.missing.values()) or "no answer"
    if backups.problem:
        return backups.problem
    best = backups.best
    if best is None:
        return "no good snapshot: dsdeploy backup run"
    if site.backup and site.backup.offsite and not best.offsite:
        return f"the newest good one, {best.sequence}, is not offsite yet"
    return f"{backups.unknown} snapshots that no run of its own made" if backups.unknown else ""


def _rows(name: str, backups: Backups) -> list[tuple[str, ...]]:
    return [
        (name, str(one.sequence), one.id[:8], one.kind, one.at, output.size(one.bytes), one.offsite[:8] or "-",
         f"{one.state}, the newest" if one.id == backups.newest else one.state)
        for one in backups.snapshots
    ]  # fmt: skip


def _document(backups: Backups | None) -> Mapping[str, Any]:
    return {"reachable": backups is not None, **(asdict(backups) if backups else {})}

"""Where a host is not as the site file says. Pure: a reading in, sentences out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsdeploy.backup import ages
from dsdeploy.facts import Clock, Engines, Hugepages, Kept, PacketFilter, SiteId, Thp
from dsdeploy.health import findings

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

CLOCK_LIMIT_S = 2.0


def problems(site: Site, reading: Reading) -> list[str]:
    """Drift that makes a host unhealthy: another site's, or kernel settings that do not hold."""
    found = list(reading.missing.values())[:1]
    found = [f"some facts are missing: {why}" for why in found]
    found += _site(site, reading.get(SiteId))
    thp = reading.get(Thp)
    if thp and (thp.writable or site.host.require_kernel_settings):
        found += _thp(site, thp)
    pages, wanted = reading.get(Hugepages), site.host.hugepages_2mb
    if pages and pages.total < wanted:
        found.append(f"hugepages: {pages.total} of {wanted} pages of 2 MiB")
    packets = reading.get(PacketFilter)
    if site.firewall is not None and packets and not packets.loaded:
        found.append("firewall: its rules are not loaded")
    return found


def warnings(site: Site, reading: Reading) -> list[str]:
    """Worth knowing, but it serves: time, restarts, settings the host does not let anybody change."""
    found = []
    clock = reading.get(Clock)
    if clock and clock.offset_s is not None and abs(clock.offset_s) > CLOCK_LIMIT_S:
        found.append(f"clock: {clock.offset_s:+.1f} s against this computer")
    if clock and clock.synchronized is False and site.host.time_sync:
        found.append("clock: not synchronized")
    thp = reading.get(Thp)
    if thp and not thp.writable and not site.host.require_kernel_settings:
        found += [f"{text}; read-only here" for text in _thp(site, thp)]
    for engine in (reading.get(Engines) or Engines()).values():
        if engine.restarts:
            found.append(f"engine {engine.colour}: restarted {engine.restarts} times by itself")
    return [*found, *findings.warnings(site, reading), *ages.warnings(site, reading.get(Kept))]


def _site(site: Site, name: SiteId | None) -> list[str]:
    if name is None or name.name == site.site:
        return []
    if name.name is None:
        return ["not set up yet: belongs to no site"]
    return [f"belongs to site {name.name!r}, not to {site.site!r}"]


def _thp(site: Site, thp: Thp) -> list[str]:
    """The top setting, and sizes whose own setting overrules it."""
    wanted = site.host.transparent_hugepages
    if not thp.present:
        return []  # a kernel without THP never stalls on it
    found = []
    if thp.enabled != wanted:
        found.append(f"THP: {thp.enabled or 'unknown'}, declared {wanted}")
    allowed = {"never": ("never", "inherit"), "madvise": ("never", "inherit", "madvise")}.get(wanted)
    loud = [f"{size} kB {value}" for size, value in thp.sizes.items() if allowed and value not in allowed]
    if loud:
        found.append(f"THP: {', '.join(loud)}, declared {wanted}")
    return found

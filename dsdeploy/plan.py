"""What `up` would do, host by host, and why. Pure: site and readings in, plan out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dsdeploy import applied, hosts, preflight
from dsdeploy.errors import HostUnreachable, PreflightError, Problem
from dsdeploy.facts import (
    Engines,
    Footprint,
    Hugepages,
    Installed,
    PacketFilter,
    Rotation,
    RouterState,
    Runs,
    SiteId,
    Srvr,
    Thp,
    Weights,
)
from dsdeploy.hosts import Reading
from dsdeploy.output import size
from dsdeploy.releases import strategy
from dsdeploy.releases.strategy import Strategy
from dsdeploy.releases.view import view
from dsdeploy.runtimes.groups import heads
from dsdeploy.site import Colour, Site
from dsdeploy.stacks.work import work as stack_work

READ = (*preflight.READ, Footprint, Hugepages, Installed, Rotation, Runs, Thp, Weights)


BESIDE = {  # what is looked for on a host -> the stage that brings it, and what that is
    "health": ("health", "a timer that looks at engine and GPUs"),
    "backup": ("backup", "backups, their rehearsal and verification on timers"),
    "logs": ("backup", "log rotation on a timer"),
    "exporter": ("monitor", "node_exporter and dsdeploy's own measurements"),
    "prometheus": ("monitor", "Prometheus and Alertmanager"),
}


@dataclass(frozen=True)
class Action:
    """One change on one host; `why` is what was read there."""

    host: str
    stage: str
    what: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What would change, and what stands in the way.

    `release` is the release the site file asks for, None until the weights are on a
    host (its id is derived from their content). `serving` is what runs now.
    """

    release: str | None
    serving: str | None
    actions: tuple[Action, ...]
    unreachable: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    rollout: Strategy | None = None
    warnings: tuple[Problem, ...] = ()

    def refuse(self) -> None:
        """Raise HostUnreachable or PreflightError, with every problem, if `up` may not start."""
        if self.unreachable:
            raise HostUnreachable([*self.unreachable, *self.problems])
        if self.problems:
            raise PreflightError(self.problems)


def make(
    site: Site,
    readings: Mapping[str, Reading],
    release: str | None,
    allow_downtime: bool = False,
    only: str | None = None,
) -> Plan:
    """Compare what was read with what the site file says; `only` is the stage that `up` is asked for."""
    unreachable = tuple(hosts.unreachable(readings))
    found = [*preflight.problems(site, readings, only), *preflight.package_locks(readings)]
    wanted = applied.digests(site)
    actions = tuple(
        action
        for host, reading in readings.items()
        if reading.reachable
        for action in _all(site, host, reading, release, wanted)
        if only in (None, action.stage)
    )
    moves = not unreachable and only is None  # a stage alone moves no requests
    rollout = _rollout(site, readings, release, allow_downtime) if moves else None
    found += rollout.problems if rollout else ()
    warned = preflight.warnings(site, readings)
    return Plan(release, serving(site, readings), actions, unreachable, tuple(found), rollout, warned)


def _rollout(site: Site, readings: Mapping[str, Reading], release: str | None, allow_downtime: bool) -> Strategy | None:
    seen = view(site, readings)
    if not seen.needs(release or "") or set(readings) != set(site.hosts):
        return None
    return strategy.choose(site, readings, seen, release or "", allow_downtime)


def serving(site: Site, readings: Mapping[str, Reading]) -> str | None:
    """The release that takes requests; where no router tells, the one all active engines run. None for several."""
    seen = view(site, readings)
    if seen.routers:
        return seen.serving or None
    running = {
        state.release
        for reading in readings.values()
        for state in (reading.get(Engines) or Engines()).values()
        if state.unit == "active" and state.release
    }
    return running.pop() if len(running) == 1 else None


def colours(site: Site, readings: Mapping[str, Reading], release: str) -> dict[str, Colour]:
    """Where the release runs on each engine host: where it is already, else in the idle colour."""
    return {host: _colour(readings[host], release) for host in site.with_role("engine") if host in readings}


def _colour(reading: Reading, release: str) -> Colour:
    engines = reading.get(Engines) or Engines()
    order: tuple[Colour, Colour] = ("blue", "green")
    for colour in order:
        state = engines.get(colour)
        if state and state.release == release:
            return colour
    for colour in order:
        state = engines.get(colour)
        if not state or state.unit not in ("active", "activating"):
            return colour
    return "green"  # both run something else: the one started later is replaced


def _all(site: Site, host: str, reading: Reading, release: str | None, wanted: Mapping[str, str]) -> Iterator[Action]:
    """What was seen on the host; of a stage that has no such action, that its settings are others by now."""
    seen = tuple(_actions(site, host, reading, release))
    yield from seen
    for stage, why in applied.changed(site, host, reading, wanted):
        if stage not in {action.stage for action in seen}:
            yield Action(host, stage, "settings of the site file", why)


def _actions(site: Site, host: str, reading: Reading, release: str | None) -> Iterator[Action]:
    roles = site.hosts[host].roles
    yield from (Action(host, "prep", what, why) for what, why in _prepare(site, reading))
    yield from (Action(host, "stack", what, why) for what, why in _stack(site, host, reading))
    if "engine" in roles:
        yield from (Action(host, stage, what, why) for stage, what, why in _serve(site, reading, release))
    if "zookeeper" in roles:
        srvr = reading.get(Srvr)
        if not srvr or not srvr.answered:
            why = srvr.error if srvr and srvr.error else "it does not answer"
            yield Action(host, "ensemble", "install and start a ZooKeeper member", why)
    if "router" in roles:
        router = reading.get(RouterState)
        if not router or not router.active:
            yield Action(host, "router", f"install and start HAProxy on port {site.router.port}", "it does not run")
        elif release and any(found != release for found in router.releases):
            yield Action(host, "router", f"switch to {release}", "another release is active there")
    yield from (Action(host, stage, what, "its units are not there") for stage, what in _beside(site, host, reading))


def _prepare(site: Site, reading: Reading) -> Iterator[tuple[str, str]]:
    owner, thp, pages = reading.get(SiteId), reading.get(Thp), reading.get(Hugepages)
    if not owner or owner.name is None:
        yield "packages, service user, folders, limits, time service", "no site has prepared it"
    if thp and thp.present and thp.enabled != site.host.transparent_hugepages:
        yield f"transparent huge pages: {site.host.transparent_hugepages}", f"now {thp.enabled}"
    wanted = site.host.hugepages_2mb
    if pages and wanted and pages.total < wanted:
        yield f"reserve {wanted} huge pages of 2 MiB ({size(wanted * 2 * 2**20)})", f"now {pages.total}"
    packets = reading.get(PacketFilter)
    if site.firewall is not None and not (packets and packets.loaded):
        yield f"packet filter: {', '.join(site.firewall.allow)} and the site's hosts", "its rules are not loaded"


def _beside(site: Site, host: str, reading: Reading) -> Iterator[tuple[str, str]]:
    """Stage and words of what runs beside serving, was asked for, and was never set up."""
    there, roles = reading.get(Installed), site.hosts[host].roles
    asked = {
        "health": site.health is not None and site.health.enabled and "engine" in roles,
        "backup": site.backup is not None,
        "logs": site.logs is not None,
        "exporter": site.monitor is not None,
        "prometheus": site.monitor is not None and "monitor" in roles,
    }
    if there is not None:
        yield from (BESIDE[name] for name, wanted in asked.items() if wanted and name not in there)


def _stack(site: Site, host: str, reading: Reading) -> Iterator[tuple[str, str]]:
    for one in stack_work(site, {host: reading}).values():
        drained = ", while it is drained" if one.drained else ""
        if one.why:
            told = f"{site.stack}: driver {one.order['driver']} ({one.order['flavour']} modules) and its libraries"
            yield f"{told}, a restart if it needs one{drained}", one.why
        elif one.restart:
            yield f"restart the host{drained}", one.restart
        elif one.beside:
            yield f"{site.stack}: repositories, keys and holds; no package, and engines go on", one.beside


def _serve(site: Site, reading: Reading, release: str | None) -> Iterator[tuple[str, str, str]]:
    name = f"{site.model.name}/{site.model.version}"
    stamp = (reading.get(Weights) or Weights()).get(name)
    if not stamp or not stamp.verified:
        why = "partly pulled" if stamp and stamp.partial else "not on the host"
        yield "weights", f"pull {name} from {site.model.source} and verify it", why
    engines = reading.get(Engines) or Engines()
    there = [state for state in engines.values() if state.release == release and state.unit == "active"]
    if release is None or not there:
        what = f"release {release}" if release else f"a release of {name}, named after its content"
        now = ", ".join(f"{c}: {s.release}" for c, s in engines.items() if s.release and s.unit == "active")
        yield "build", f"runtime {site.engine.runtime}, build in {site.engine.precision}", "unless it is there already"
        yield "engine", f"start {what} and wait for a real completion", f"now {now}" if now else "no engine runs"
    elif reading.host in heads(site) and not any(
        state.health != "down" or state.detail.startswith("activating/start") for state in there
    ):
        why = "it does not start" if "auto-restart" in there[0].detail else "it answers nothing"
        yield "engine", f"start release {release} and wait for a real completion", f"{there[0].colour}: {why}"

"""What stands in the way, found before anything is touched. Pure: readings in, problems out.

Every problem of every host is reported at once; `plan`, `check` and `up` use the same list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from dsdeploy import firewall
from dsdeploy.errors import Problem
from dsdeploy.fabric import judge as fabric
from dsdeploy.facts import (
    Clock,
    Disks,
    Engines,
    GpuReport,
    Gpus,
    Interpreter,
    Memory,
    NvSwitch,
    Os,
    PackageLock,
    PacketFilter,
    Ports,
    RouterState,
    SiteId,
    Srvr,
    TensorRt,
)  # fmt: skip
from dsdeploy.health import findings
from dsdeploy.hosts import Reading
from dsdeploy.output import size
from dsdeploy.site import Site
from dsdeploy.stacks import fleet, reach

READ = (
    *fleet.READ, *fabric.READ, GpuReport, Clock, Disks, Engines, Memory, PackageLock, PacketFilter, Ports, RouterState,
    SiteId, Srvr, TensorRt,
)  # fmt: skip
Check = Callable[[Site, str, Reading], Iterable[Problem]]

FAMILIES = ("debian", "redhat")
OLDEST_PYTHON = (3, 8)
CLOCK_SECONDS = 30.0  # certificates, package signatures and log order break beyond that
FREE_SRV = 1 * 2**30  # the runtime and its wheels; weights are counted when their manifest is known
FREE_VAR = 512 * 2**20  # packages (a Java runtime for ZooKeeper) and logs
FREE_INODES = 20_000
HUGEPAGES_SHARE = 0.5  # reserved pages are lost to everything else, the page cache included


def problems(site: Site, readings: Mapping[str, Reading], only: str | None = None) -> list[Problem]:
    """Everything that would make `up`, or its stage `only`, fail on the hosts that answered, host by host."""
    found: list[Problem] = []
    checks: tuple[Check, ...] = (*_CHECKS, partial(_ports, only=only))
    for host, reading in readings.items():
        if reading.reachable:
            for check in checks:
                found.extend(
                    Problem(problem.what, problem.where or f"host {host}", problem.hint)
                    for problem in check(site, host, reading)
                )
    return found


def package_locks(readings: Mapping[str, Reading]) -> list[Problem]:
    """Hosts whose package manager is busy. Apart from the rest, because it often passes by itself."""
    return [
        Problem(
            f"the package manager on {host} is in use by {lock.holder} (pid {lock.pid})",
            f"host {host}, {lock.path}",
            f"wait until pid {lock.pid} is done, then: dsdeploy up SITE",
        )
        for host, reading in readings.items()
        if (lock := reading.get(PackageLock)) and lock.held
    ]


def _claimed(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    owner = reading.get(SiteId)
    if owner and owner.name not in (None, site.site):
        yield Problem(
            f"{host} belongs to the site {owner.name!r}, not to {site.site!r}",
            f"host {host}, /var/lib/dsdeploy/site",
            f"check the address of {host}; to move it for good, remove that file on the host first",
        )


def _system(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    system = reading.get(Os)
    if system is None:
        return
    if system.family not in FAMILIES:
        yield Problem(f"{host} runs {system.id} {system.version_id}, which is not supported", "",
                      "Debian 12, Ubuntu 20.04 to 24.04, Rocky or Alma 8 and 9")  # fmt: skip
    if unmanaged := reach.problem(system, reach.core()):
        yield Problem(f"{host}: {unmanaged.what}", "", unmanaged.hint)
    other = reading.get(Interpreter)
    version = tuple(int(part) for part in system.python.split(".")[:2] if part.isdecimal())
    if version < OLDEST_PYTHON and not (other and other.path):
        shown = f"Python {system.python}" if system.python else "no Python 3"
        yield Problem(f"{host} has {shown}; 3.8 or newer is needed to manage it", "",
                      f"{reach.python(system)} on {host}")  # fmt: skip


def _clock(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    clock = reading.get(Clock)
    if clock and clock.offset_s is not None and abs(clock.offset_s) > CLOCK_SECONDS + (clock.uncertainty_s or 0):
        side = "ahead of" if clock.offset_s > 0 else "behind"
        yield Problem(f"the clock of {host} is {abs(clock.offset_s):.0f} s {side} this computer's",
                      "", f"set the clock of {host}, or this computer's, by NTP")  # fmt: skip


def _room(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    disks = reading.get(Disks) or Disks()
    fresh = not _claimed_by(site, reading)
    needs = {"/var": FREE_VAR if fresh else FREE_VAR // 8}
    if "engine" in site.hosts[host].roles:
        needs["/srv"] = FREE_SRV if fresh else FREE_SRV // 8
    for path, needed in needs.items():
        disk = disks.get(path)
        if disk is None:
            continue
        if disk.free < needed:
            yield Problem(f"{host} has {size(disk.free)} free for {path} and needs {size(needed)}",
                          f"host {host}, file system {disk.mount}",
                          f"free {size(needed - disk.free)} on {disk.mount}, then: dsdeploy up SITE")  # fmt: skip
        elif disk.free_inodes is not None and disk.free_inodes < FREE_INODES:
            yield Problem(f"{host} has {disk.free_inodes} inodes free for {path} and needs {FREE_INODES}",
                          f"host {host}, file system {disk.mount}",
                          f"remove files nobody needs on {disk.mount}")  # fmt: skip


def _claimed_by(site: Site, reading: Reading) -> bool:
    owner = reading.get(SiteId)
    return bool(owner and owner.name == site.site)


def _ports(site: Site, host: str, reading: Reading, only: str | None) -> Iterator[Problem]:
    """A stage alone is not held up by a port of another: with two faults at once, each can be mended."""
    listening = reading.get(Ports) or Ports()
    address = site.hosts[host].address
    for port, purpose, stage, ours in _wanted_ports(site, host, reading):
        taken = None if ours or only not in (None, stage) else listening.at(port, address)
        if taken:
            who = f"{taken.process} (pid {taken.pid})" if taken.process else "another program"
            yield Problem(f"port {port} on {host}, wanted for {purpose}, is taken by {who}", "",
                          "stop it, or choose another port in the site file, then: dsdeploy up SITE")  # fmt: skip


def _wanted_ports(site: Site, host: str, reading: Reading) -> Iterator[tuple[int, str, str, bool]]:
    """Port, what for, the stage that starts it, and whether what listens there is already ours."""
    roles = site.hosts[host].roles
    if "engine" in roles:
        engines = reading.get(Engines) or Engines()
        for colour, port in (("blue", site.engine.ports.blue), ("green", site.engine.ports.green)):
            state = engines.get(colour)
            yield port, f"the {colour} engine", "engine", state is not None and state.unit in ("active", "activating")
    if "zookeeper" in roles:
        srvr = reading.get(Srvr)
        listening = reading.get(Ports) or Ports()
        at = listening.at(site.zookeeper.client_port, site.hosts[host].address)
        ours = bool(srvr and srvr.answered) or bool(at and at.process == "java")
        yield site.zookeeper.client_port, "ZooKeeper", "ensemble", ours
    if "router" in roles:
        router = reading.get(RouterState)
        yield site.router.port, "the router", "router", bool(router and router.active)


def _hugepages(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    memory = reading.get(Memory)
    wanted = site.host.hugepages_2mb * 2 * 2**20
    if memory and memory.total and wanted > HUGEPAGES_SHARE * memory.total:
        yield Problem(
            f"hugepages_2mb: {site.host.hugepages_2mb} x 2 MiB = {size(wanted)} is more than half of "
            f"the {size(memory.total)} of {host}",
            f"{site.file.name}: host.hugepages_2mb",
            f"at most {int(HUGEPAGES_SHARE * memory.total) // (2 * 2**20)} on this host",
        )


def _shut_out(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    """The filter must let through whoever sets it up."""
    seen = reading.get(PacketFilter)
    if site.firewall is None or seen is None or (seen.caller and firewall.reaches(site, seen.caller)):
        return
    who = (
        f"{seen.caller}, from where this computer reaches {host}" if seen.caller else f"this computer as {host} sees it"
    )
    yield Problem(
        f"firewall.allow does not have {who}: it would shut itself out",
        f"{site.file.name}: firewall.allow",
        f"add {seen.caller}, or its network"
        if seen.caller
        else f"on {host}: echo $SSH_CONNECTION names the address to add",
    )


def _gpus(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    if site.stack == "cpu" or "engine" not in site.hosts[host].roles:
        return
    gpus, bus = reading.get(Gpus) or Gpus(), reading.get(NvSwitch)
    if not gpus and bus and bus.gpus and fleet.ordered(site, host, reading):
        return  # they are there, and the run brings their driver
    if not gpus:
        yield Problem(f"stack {site.stack}: no NVIDIA GPU answers on {host}", "",
                      f"lspci -d 10de: on {host}; put the GPU in, or use stack: cpu")  # fmt: skip
    elif site.engine.devices != "all":
        missing = sorted(set(site.engine.devices) - {gpu.index for gpu in gpus})
        if missing:
            yield Problem(f"engine.devices names GPU {missing}, {host} has {len(gpus)}: 0 to {len(gpus) - 1}",
                          f"{site.file.name}: engine.devices")  # fmt: skip


def _stack(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    yield from fleet.problems(site, host, reading)


_CHECKS: tuple[Check, ...] = (
    _claimed, _system, _clock, _room, _hugepages, _shut_out, _gpus, _stack, fabric.problems,
    findings.standing_in_the_way,
)  # fmt: skip


def warnings(site: Site, readings: Mapping[str, Reading]) -> tuple[Problem, ...]:
    """What does not stand in the way and should be known all the same."""
    return (*fleet.warnings(site, readings), *fabric.warnings(site, readings), *findings.worth_knowing(site, readings))

"""A host's fabric and the health of its GPUs, as problems and warnings. Pure: readings in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dsdeploy import xids
from dsdeploy.errors import Problem
from dsdeploy.fabric.choice import Choice, choose
from dsdeploy.facts import Fabric, GpuHealth, GpuHealths, GpuLog, IbDevinfo, IbStat, Ofed, PortCounters

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

READ = (Fabric, Ofed)  # what a site with a fabric is always asked
DEEP = (Fabric, IbStat, IbDevinfo, PortCounters, GpuHealths, GpuLog)  # what `check --fabric` asks
SLOW = frozenset({"HW Slowdown", "HW Thermal Slowdown", "HW Power Brake Slowdown", "SW Thermal Slowdown"})


def chosen(site: Site, host: str, reading: Reading) -> Choice | None:
    """What carries NCCL on a host; None for a site without a fabric, a host without an engine, or one not read."""
    fabric = reading.get(Fabric)
    if site.fabric is None or fabric is None or "engine" not in site.hosts[host].roles:
        return None
    return choose(fabric, site.fabric, site.hosts[host].address)


def problems(site: Site, host: str, reading: Reading) -> Iterator[Problem]:
    """What keeps a host from doing what the site file says of its fabric.

    Before DOCA-OFED is installed its devices may not be there yet: then nothing is missing.
    """
    choice = chosen(site, host, reading)
    fabric = reading.get(Fabric)
    if choice is None or fabric is None:
        return
    assert site.fabric is not None
    if site.fabric.ofed and not fabric.hardware:
        return
    hint = "ibstat and rdma link on the host; dsdeploy check SITE --fabric says more"
    for what in choice.problems:
        yield Problem(f"fabric of {host}: {what}", f"host {host}", hint)


def warnings(site: Site, readings: Mapping[str, Reading]) -> Iterator[Problem]:
    """What does not stand in the way."""
    for host, reading in readings.items():
        choice = chosen(site, host, reading)
        for what in choice.warnings if choice else ():
            yield Problem(f"fabric of {host}: {what}", f"host {host}")
        if (ofed := reading.get(Ofed)) and ofed.loaded and not ofed.installed:
            yield Problem(f"fabric of {host}: DOCA-OFED replaces modules that are in memory: once it is installed, "
                          f"`up` stops until {host} was drained and restarted", f"host {host}")  # fmt: skip


def libraries(host: str, reading: Reading) -> Iterator[Problem]:
    """Hardware the kernel shows and the libraries do not find: two RDMA stacks over each other, or none installed."""
    fabric, verbs = reading.get(Fabric), reading.get(IbDevinfo)
    if fabric is None or verbs is None or not fabric.hardware:
        return
    unseen = [device.name for device in fabric.hardware if device.name not in {one.name for one in verbs}]
    if unseen:
        yield Problem(
            f"{host}: ibv_devinfo does not find {', '.join(unseen)}, which the kernel has",
            f"host {host}",
            "install rdma-core and ibverbs-utils, or reinstall DOCA-OFED: its libraries and modules go together",
        )
    listed = {one.name for one in reading.get(IbStat) or ()}
    unlisted = [device.name for device in fabric.hardware if device.name not in listed] if listed else []
    if unlisted:
        yield Problem(
            f"{host}: ibstat does not find {', '.join(unlisted)}, which the kernel has",
            f"host {host}",
            "modprobe ib_umad: its counters cannot be read without",
        )


def health(host: str, reading: Reading) -> Iterator[tuple[str, Problem]]:
    """`error` or `warn`, and what is wrong with the GPUs of a host."""
    told, log = reading.get(GpuHealths), reading.get(GpuLog)
    where = f"host {host}"
    for lost in (*(told.lost if told else ()), *(f"{bus}: it fell off the bus" for bus in (log.lost if log else ()))):
        yield (
            "error",
            Problem(f"{host}: GPU {lost}", where, "reboot the host; if it comes again, have the card replaced"),
        )
    for gpu in told.gpus if told else ():
        for level, what, hint in _gpu(gpu):
            yield level, Problem(f"{host}: GPU {gpu.bus}: {what}", where, hint)
    if log and not log.read:
        yield "warn", Problem(f"{host}: the kernel's log cannot be read, XIDs are unknown", where)
    for xid in log.xids if log else ():
        found = xids.meaning(xid.code, xid.text)
        times = f" ({xid.times} times)" if xid.times > 1 else ""
        said = f"{host}: XID {xid.code}{times} of GPU {xid.bus}: {found.what or xid.text}"
        if found.kind != "information":
            yield "error" if found.hardware else "warn", Problem(said, where, found.act)
    for name, downs in (log.flaps if log else {}).items():
        if downs > 1:
            yield "warn", Problem(f"{host}: the link of {name} went down {downs} times since the boot", where)


def _gpu(gpu: GpuHealth) -> Iterator[tuple[str, str, str]]:
    if gpu.exhausted:
        yield "error", "no spare memory row is left", "have the card replaced"
    elif gpu.pending or gpu.reset:
        yield "error", "it waits for a reset", "nvidia-smi --gpu-reset when it is idle, or reboot"
    if gpu.uncorrected:
        yield "error", f"{gpu.uncorrected} memory errors could not be corrected", "reset the GPU; dcgmi diag -r 3"
    if gpu.ecc is False:
        yield "warn", "ECC is off", "nvidia-smi -e 1, then reboot"
    slow = [why for why in gpu.slowed if why in SLOW]
    if slow:
        now = f" at {gpu.clock} of {gpu.clock_max} MHz" if gpu.clock and gpu.clock_max else ""
        heat = f", {gpu.temperature} °C" if gpu.temperature is not None else ""
        yield "error", f"its clocks are held down{now}{heat}: {', '.join(slow)}", "look at its cooling and power"
    if _narrow(gpu.pcie):
        yield "error", f"its PCIe link has {gpu.pcie} lanes", "reseat the card or its riser"
    if gpu.fabric and gpu.fabric not in ("Completed", "Completed, Success"):
        yield "error", f"NVSwitch: {gpu.fabric}", "systemctl status nvidia-fabricmanager"


def _narrow(pcie: str) -> bool:
    """`5x8 of 5x16`: lanes are lost. The generation falls by itself on an idle GPU and tells nothing."""
    now, _, most = pcie.partition(" of ")
    lanes = [int(side.split("x")[1]) for side in (now, most) if "x" in side]
    return len(lanes) == 2 and lanes[0] < lanes[1]


def grown(before: Reading, after: Reading) -> dict[str, dict[str, int]]:
    """Port -> error counter -> how much it grew between two readings of a host."""
    found: dict[str, dict[str, int]] = {}
    first, second = _counters(before), _counters(after)
    for port, counters in second.items():
        more = {name: count - first.get(port, {}).get(name, count) for name, count in counters.items()}
        risen = {name: count for name, count in more.items() if count > 0}
        if risen:
            found[port] = risen
    return found


_WATCHED = frozenset({"SymbolErrorCounter", "LinkErrorRecoveryCounter", "LinkDownedCounter", "PortRcvErrors"})


def _counters(reading: Reading) -> dict[str, dict[str, int]]:
    """The kernel's error counters, and the wider ones through the subnet where they are read."""
    fabric = reading.get(Fabric)
    found = {
        f"{device.name}/{port.number}": dict(port.counters)
        for device in (fabric.hardware if fabric else ())
        for port in device.ports
    }
    for name, counters in (reading.get(PortCounters) or {}).items():
        found.setdefault(name, {}).update({key: count for key, count in counters.items() if key in _WATCHED})
    return found

"""Engine hosts as they were read, judged against the stack of their site. Pure: readings in, problems out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from dsdeploy.errors import Problem
from dsdeploy.facts import BusGpus, DriverModule, Gpus, Interpreter, NvSwitch, Os, SecureBoot, StackState
from dsdeploy.runtimes import pythons
from dsdeploy.stacks import Gpu, Host, Verdict, catalogue, fits, judge, matrix, place, versions
from dsdeploy.stacks.order import Order, matches, order

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

READ = (BusGpus, DriverModule, Gpus, Interpreter, NvSwitch, Os, SecureBoot, StackState)


def seen(site: Site, reading: Reading) -> Host | None:
    """The host as the judge wants it; None where not even its system is known."""
    system = reading.get(Os)
    if system is None:
        return None
    gpus = used(site, reading)
    module = reading.get(DriverModule)
    switches = reading.get(NvSwitch)
    boot = reading.get(SecureBoot)
    state = reading.get(StackState)
    told = (gpus or reading.get(Gpus) or Gpus())[:1]
    return Host(
        id=system.id,
        version=system.version_id,
        kernel=system.kernel,
        glibc=system.glibc,
        python=_python(site, reading, system.python),
        architecture=system.arch,
        gpus=tuple(Gpu(gpu.name, gpu.compute, gpu.memory) for gpu in gpus),
        driver=told[0].driver if told and versions.parse(told[0].driver) else (state.library if state else "") or None,
        loaded=module.loaded if module else "",
        modules=module.flavour if module else "",
        nvswitch=switches.switches > 0 if switches and switches.switches is not None else None,
        fabric_manager=module.fabric_manager if module else None,
        secure_boot=boot.on if boot else None,
        devices=tuple(reading.get(BusGpus) or ()),
    )


def _python(site: Site, reading: Reading, system: str) -> str:
    """The one the engine's wheels are for; what an image brings is not this host's."""
    told = reading.get(Interpreter)
    return pythons.chosen(site, reading).version if told and pythons.needed(site) else system


def used(site: Site, reading: Reading) -> Gpus:
    """The GPUs the engine may take."""
    gpus, wanted = reading.get(Gpus) or Gpus(), site.engine.devices
    return gpus if wanted == "all" else Gpus(gpu for gpu in gpus if gpu.index in wanted)


def verdicts(site: Site, host: str, reading: Reading) -> tuple[Verdict, ...]:
    """What the judge says of one host: nothing for stack cpu, for hosts without an engine, for unread ones."""
    if site.stack == "cpu" or "engine" not in site.hosts[host].roles or not reading.reachable:
        return ()
    found = seen(site, reading)
    if found is None:
        return ()
    return (*judge(matrix().profiles[site.stack], found), *_lost(reading), *_memory(site, found),
            *_runtime(site, host, reading))  # fmt: skip


def _runtime(site: Site, host: str, reading: Reading) -> Iterator[Verdict]:
    """Nothing of the engine can be built without it: better said before a driver is installed."""
    what, hint = pythons.why(site, host, reading) if pythons.needed(site) else ("", "")
    if what:
        yield Verdict("error", "python", what, hint)


def _lost(reading: Reading) -> Iterator[Verdict]:
    """GPUs that are on the bus and do not answer."""
    bus, gpus = reading.get(NvSwitch), reading.get(Gpus) or Gpus()
    if gpus and bus and bus.gpus and bus.gpus > len(gpus):
        yield Verdict("warn", "gpu", f"{bus.gpus} NVIDIA GPUs are on the bus, {len(gpus)} of them answer")


def _memory(site: Site, host: Host) -> tuple[Verdict, ...]:
    """The site's model against these GPUs, where the catalogue knows it in this precision."""
    model = catalogue().get(site.model.name)
    if model is None or site.engine.precision not in model.precisions or not host.gpus:
        return ()
    return fits(model, site.engine.precision, host.gpus * site.engine.nodes, site.engine.memory_fraction)


def ordered(site: Site, host: str, reading: Reading) -> Order | None:
    """What the stack role is told on this host; None where it has nothing to do, or where nothing fits."""
    asked = site.stack != "cpu" and site.packages.managed and "engine" in site.hosts[host].roles
    if not asked or not reading.reachable:
        return None
    found = seen(site, reading)
    if found is None:
        return None
    known = matrix()
    switches = bool(found.nvswitch) or place.nvlink5(known, found)
    return order(known, known.profiles[site.stack], found, site.packages.mirror or "", switches)


def _as_ordered(site: Site, host: str, reading: Reading) -> tuple[Verdict, ...]:
    """What is said of the host once it has what is ordered: `up` mends a wrong driver, it does not stumble over it."""
    told, found = ordered(site, host, reading), seen(site, reading)
    if told is None or found is None or _stands(told, found):
        return verdicts(site, host, reading)
    # only where this host's own key is the one that is enrolled will the next module, which is built here, load as well
    state = reading.get(StackState)
    boot = None if found.loaded and state and state.own_key else found.secure_boot
    bare = replace(found, driver=None, loaded="", modules="", fabric_manager=None, secure_boot=boot)
    return (*judge(matrix().profiles[site.stack], bare), *_memory(site, found), *_runtime(site, host, reading))


def _stands(told: Order, found: Host) -> bool:
    """Whether driver, module and Fabric Manager are the ordered ones already."""
    fabric = found.fabric_manager or ""
    return (
        matches(told, found.driver or "")
        and (not found.loaded or matches(told, found.loaded))
        and (not fabric or matches(told, fabric))
    )


def problems(site: Site, host: str, reading: Reading) -> list[Problem]:
    """Errors that no run mends: a host that cannot run the stack, with the nearest combination that can."""
    found = [
        Problem(f"stack {site.stack} on {host}: {one.why}", f"host {host}", f"nearest that works: {one.nearest}")
        for one in _as_ordered(site, host, reading)
        if one.level == "error"
    ]
    state = reading.get(StackState)
    if state and state.runfile and ordered(site, host, reading) is not None:
        what = f"the driver on {host} came from a .run file: packages would be mixed with its files"
        found.append(Problem(what, f"host {host}", f"on {host}: nvidia-uninstall --silent; then: dsdeploy up SITE"))
    return found


def silent(site: Site, host: str, reading: Reading) -> Problem | None:
    """No GPU answers although the ordered driver is installed. Before a run that may be what it mends; after one it is
    a failure."""
    told, bus = ordered(site, host, reading), reading.get(NvSwitch)
    state, gpus = reading.get(StackState), reading.get(Gpus)
    if told is None or gpus or not bus or not bus.gpus or not state or not matches(told, state.library):
        return None
    return Problem(f"{host} has driver {state.library}, {bus.gpus} NVIDIA GPUs are on its bus, none answers",
                   f"host {host}", f"on {host}: nvidia-smi; dkms status; dmesg | grep -i nvidia")  # fmt: skip


def warnings(site: Site, readings: Mapping[str, Reading]) -> tuple[Problem, ...]:
    """Worth knowing before a start; the same sentence once for all hosts it is true of. Errors that a run mends too."""
    found: dict[str, list[str]] = {}
    for host, reading in readings.items():
        final = {one.what for one in _as_ordered(site, host, reading) if one.level == "error"}
        for one in verdicts(site, host, reading):
            if one.level == "warn":
                found.setdefault(one.why, []).append(host)
            elif one.level == "error" and one.what not in final:
                found.setdefault(f"{one.why} (dsdeploy up mends it: driver of the stack)", []).append(host)
    return tuple(Problem(f"{', '.join(names)}: {why}", f"stack {site.stack}") for why, names in found.items())

"""Engine hosts as they were read, judged against the stack of their site. Pure: readings in, problems out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from dsdeploy.errors import Problem
from dsdeploy.facts import DriverModule, Gpus, NvSwitch, Os, SecureBoot
from dsdeploy.stacks import Gpu, Host, Verdict, catalogue, fits, judge, matrix, versions

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site

READ = (DriverModule, Gpus, NvSwitch, Os, SecureBoot)


def seen(site: Site, reading: Reading) -> Host | None:
    """The host as the judge wants it; None where not even its system is known."""
    system = reading.get(Os)
    if system is None:
        return None
    gpus = used(site, reading)
    module = reading.get(DriverModule)
    switches = reading.get(NvSwitch)
    boot = reading.get(SecureBoot)
    told = (gpus or reading.get(Gpus) or Gpus())[:1]
    return Host(
        id=system.id,
        version=system.version_id,
        kernel=system.kernel,
        glibc=system.glibc,
        python=system.python,
        architecture=system.arch,
        gpus=tuple(Gpu(gpu.name, gpu.compute, gpu.memory) for gpu in gpus),
        driver=told[0].driver if told and versions.parse(told[0].driver) else None,
        loaded=module.loaded if module else "",
        modules=module.flavour if module else "",
        nvswitch=switches.switches > 0 if switches and switches.switches is not None else None,
        fabric_manager=module.fabric_manager if module else None,
        secure_boot=boot.on if boot else None,
    )


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
    return (*judge(matrix().profiles[site.stack], found), *_lost(reading), *_memory(site, found))


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
    return fits(model, site.engine.precision, host.gpus, site.engine.memory_fraction)


def problems(site: Site, host: str, reading: Reading) -> list[Problem]:
    """Errors as problems: a host that cannot run the stack, with the nearest combination that can."""
    return [
        Problem(f"stack {site.stack} on {host}: {one.why}", f"host {host}", f"nearest that works: {one.nearest}")
        for one in verdicts(site, host, reading)
        if one.level == "error"
    ]


def warnings(site: Site, readings: Mapping[str, Reading]) -> tuple[Problem, ...]:
    """Worth knowing before a start; the same sentence once for all hosts it is true of."""
    found: dict[str, list[str]] = {}
    for host, reading in readings.items():
        for one in verdicts(site, host, reading):
            if one.level == "warn":
                found.setdefault(one.why, []).append(host)
    return tuple(Problem(f"{', '.join(names)}: {why}", f"stack {site.stack}") for why, names in found.items())

"""Do the settings of a site fit its machines and each other: ports, devices, batches, the shared address?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsdeploy.document import Address
from dsdeploy.site.places import ip

if TYPE_CHECKING:
    from dsdeploy.site.model import Site

Finding = tuple[Address, str, str]


def ports(site: Site) -> Iterator[Finding]:
    """Ports wanted twice on one host, told once for all the hosts it happens on."""
    clashes: dict[tuple[int, tuple[Address, ...]], list[str]] = defaultdict(list)
    for name, host in site.hosts.items():
        wanted: dict[int, list[Address]] = defaultdict(list)
        for address, port in _listeners(site, host.roles):
            wanted[port].append(address)
        for port, owners in wanted.items():
            if len(owners) > 1:
                clashes[port, tuple(owners)].append(name)
    for (port, users), hosts in clashes.items():
        others = ", ".join(".".join(map(str, address)) for address in users[:-1])
        more = f" and {len(hosts) - 3} more" if len(hosts) > 3 else ""
        yield users[-1], f"{port} is also {others} on {', '.join(hosts[:3])}{more}", "give each its own port"


def _listeners(site: Site, roles: tuple[str, ...]) -> Iterator[tuple[Address, int]]:
    yield ("ssh", "port"), site.ssh.port
    if "engine" in roles:
        yield ("engine", "ports", "blue"), site.engine.ports.blue
        yield ("engine", "ports", "green"), site.engine.ports.green
        if site.engine.nodes > 1 or site.engine.runtime == "triton":
            yield ("engine", "inner_ports", "blue"), site.engine.inner_ports.blue
            yield ("engine", "inner_ports", "green"), site.engine.inner_ports.green
    if "zookeeper" in roles:
        yield ("zookeeper", "client_port"), site.zookeeper.client_port
        yield ("zookeeper", "peer_port"), site.zookeeper.peer_port
        yield ("zookeeper", "election_port"), site.zookeeper.election_port
    if "router" in roles:
        yield ("router", "port"), site.router.port
    if site.monitor:
        yield ("monitor", "exporter_port"), site.monitor.exporter_port
        if "router" in roles:
            yield ("monitor", "router_port"), site.monitor.router_port
        if "engine" in roles and site.monitor.dcgm_port:
            yield ("monitor", "dcgm_port"), site.monitor.dcgm_port
        if "monitor" in roles:
            yield ("monitor", "prometheus_port"), site.monitor.prometheus_port
            yield ("monitor", "alertmanager_port"), site.monitor.alertmanager_port


def monitor(site: Site) -> Iterator[Finding]:
    """Measurements nobody collects; thresholds that contradict each other."""
    if site.monitor is None:
        return
    if not site.with_role("monitor"):
        what = f"0 of {len(site.hosts)} hosts have the role monitor: nothing would be collected"
        yield ("monitor",), what, "add monitor to a host's roles, or remove the section"
    limits = site.monitor.thresholds
    at = ("monitor", "thresholds")
    if limits.disk_critical >= limits.disk:
        what = f"{limits.disk_critical:g} is told before disk {limits.disk:g}"
        yield (*at, "disk_critical"), what, "write less than disk"
    if limits.burn_fast >= limits.burn_slow:
        what = f"{limits.burn_fast:g} s is not shorter than burn_slow {limits.burn_slow:g} s"
        yield (*at, "burn_fast"), what, "write less than burn_slow"


def devices(site: Site) -> Iterator[Finding]:
    """A model split over more or fewer GPUs than are listed, or over GPUs a CPU stack does not have."""
    engine, at = site.engine, ("engine", "tensor_parallel")
    parts = engine.tensor_parallel * engine.pipeline_parallel // engine.nodes  # on one host
    if site.stack == "cpu" and parts > 1:
        yield at, f"{parts} GPUs wanted, stack cpu has 0", "write 1, or choose a CUDA stack"
    elif engine.devices != "all" and parts != len(engine.devices) and parts != 1:
        listed = len(engine.devices)
        gap = f"{parts - listed} too few" if parts > listed else f"{listed - parts} would stay idle"
        hint = f"write tensor_parallel: {listed}, or list {parts} devices"
        yield at, f"{parts} parts on {listed} devices {list(engine.devices)}: {gap}", hint


def batching(site: Site) -> Iterator[Finding]:
    """Preferred sizes a batch can never reach, or out of order."""
    limit = site.engine.batching.max_batch_size
    sizes = list(site.engine.batching.preferred_batch_size)
    at = ("engine", "batching", "preferred_batch_size")
    for index, size in enumerate(sizes):
        if size > limit:
            hint = "no batch gets that large: lower it, or raise max_batch_size"
            yield (*at, index), f"{size} is over max_batch_size {limit}", hint
    if sizes != sorted(set(sizes)):
        yield at, f"{sizes} is not ascending, each once", f"write {sorted(set(sizes))}"


def vip(site: Site) -> Iterator[Finding]:
    """A shared address that belongs to a host, or that router hosts cannot announce to each other (VRRP)."""
    shared = ip(site.router.vip or "")
    if shared is None:
        return
    family = f"IPv{shared.version}"
    for name, host in site.hosts.items():
        literal = ip(host.address)
        if literal == shared:
            hint = "write a free address: it moves between the routers"
            yield ("router", "vip"), f"{site.router.vip} is the address of host {name}", hint
        elif "router" in host.roles and (literal is None or literal.version != shared.version):
            what = f"router.vip {site.router.vip} needs an {family} address on each router host"
            yield ("hosts", name, "address"), what, f"write its {family} address, or remove router.vip"


def firewall(site: Site) -> Iterator[Finding]:
    """A host known by name only: a filter that has to ask for names at boot would keep the host's own site out."""
    for name, host in site.hosts.items():
        if site.firewall is not None and ip(host.address) is None:
            hint = "write its address, or remove the section firewall"
            yield ("hosts", name, "address"), f"{host.address} is a name, and firewall needs addresses", hint


def tarball(site: Site) -> Iterator[Finding]:
    """Apache's tarball without its URL or checksum, or those without the tarball."""
    given = {"tarball_url": site.zookeeper.tarball_url, "tarball_sha512": site.zookeeper.tarball_sha512}
    for key, value in given.items():
        if site.zookeeper.source == "tarball" and not value:
            yield ("zookeeper", key), "missing, source is tarball", f"add {key}, or write source: package"
        if site.zookeeper.source == "package" and value:
            yield ("zookeeper", key), "not used, source is package", "write source: tarball, or remove it"


def canary(site: Site) -> Iterator[Finding]:
    """More hosts in the first batch than there are."""
    engines = len(site.with_role("engine")) // site.engine.nodes
    if engines and site.rollout.canary > engines:
        yield ("rollout", "canary"), f"{site.rollout.canary} of {engines} engine hosts", "write 1"

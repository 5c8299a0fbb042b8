"""What a site file asks of its lab: names, addresses, one network. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from urllib.parse import urlsplit

from dsdeploy.errors import LabError
from dsdeploy.site import Site

# What each would have of its own processors as a real machine: late adverts, health checks and heartbeats are read as
# deaths, so whoever works on this computer (a play's forks, a build) waits for them, not they for it.
_WEIGHTS = {"router": 16, "engine": 8, "zookeeper": 4}
VERSIONS = ("v1", "v2")  # what the mirror offers; a version is made from the seed of the same number
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Machine:
    """One container: a host of the site, or the weights mirror.

    `weight`: its share of this computer's processors, in processes of usual priority.
    """

    name: str
    address: str
    container: str
    mirror: bool = False
    weight: int = 1
    router: bool = False


@dataclass(frozen=True)
class Layout:
    """A lab, whole. `folder` is the mirror's path above the versions, "" without a mirror."""

    name: str
    network: str
    subnet: IPv4Network
    machines: tuple[Machine, ...]
    folder: str

    @property
    def mirror(self) -> Machine | None:
        return next((machine for machine in self.machines if machine.mirror), None)


def layout(site: Site) -> Layout:
    """The lab of a site. Raises LabError where the site cannot be a lab."""
    _refuse_access(site)
    addresses = {name: _address(site, name) for name, host in site.hosts.items()}
    subnet = IPv4Network((next(iter(addresses.values())), 24), strict=False)
    gateway = subnet.network_address + 1
    for name, address in addresses.items():
        if address not in subnet:
            raise LabError(
                f"{address} is outside {subnet}, the /24 of the first host",
                f"host {name}",
                "give all hosts of a lab addresses in one /24",
            )
        if address in (gateway, subnet.network_address, subnet.broadcast_address):
            raise LabError(
                f"{address} is taken: {gateway} is this computer's own end of the lab's network",
                f"host {name}",
                "use addresses from .2 to .254",
            )
    machines = [
        Machine(name, str(address), _container(site, name), weight=_weight(site, name), router=_router(site, name))
        for name, address in addresses.items()
    ]
    mirror, folder = _mirror(site, subnet)
    return Layout(site.site, f"dsdeploy-{site.site}", subnet, (*machines, *mirror), folder)


def _refuse_access(site: Site) -> None:
    if site.ssh.identity is None or site.ssh.known_hosts is None:
        raise LabError(
            "a lab needs ssh.identity and ssh.known_hosts: it writes both",
            str(site.file),
            "add to the site file: ssh: {user: root, identity: id_ed25519, known_hosts: known_hosts}",
        )
    if site.ssh.user != "root" or site.ssh.port != 22:
        raise LabError(
            "machines of a lab are reached as root on port 22",
            str(site.file),
            "set ssh.user to root and leave ssh.port out",
        )


def _address(site: Site, name: str) -> IPv4Address:
    address = site.hosts[name].address
    try:
        return IPv4Address(address)
    except AddressValueError:
        raise LabError(
            f"{address} is not an IPv4 address",
            f"host {name}",
            "give the hosts of a lab addresses such as 10.90.0.11",
        ) from None


def _weight(site: Site, name: str) -> int:
    return max(_WEIGHTS.get(role, 1) for role in site.hosts[name].roles)


def _router(site: Site, name: str) -> bool:
    return "router" in site.hosts[name].roles


def _container(site: Site, machine: str) -> str:
    return f"dsdeploy-{site.site}-{machine}"


def _mirror(site: Site, subnet: IPv4Network) -> tuple[tuple[Machine, ...], str]:
    """The mirror stands where model.source points into the lab's network; elsewhere there is none."""
    url = urlsplit(site.model.source)
    try:
        address = IPv4Address(url.hostname or "")
    except AddressValueError:
        return (), ""
    if address not in subnet:
        return (), ""
    if str(address) in {host.address for host in site.hosts.values()}:
        raise LabError(f"the mirror's address {address} is a host's", "model.source", "give the mirror its own")
    folder, _, version = url.path.strip("/").rpartition("/")
    if url.scheme != "http" or url.port not in (None, 80) or version not in VERSIONS or not _FOLDER.fullmatch(folder):
        raise LabError(
            f"the lab's mirror does not serve {site.model.source}",
            "model.source",
            f"write http://{address}/weights/{site.model.name}/v1/ (it has {' and '.join(VERSIONS)})",
        )
    name = "mirror"
    while name in site.hosts:
        name += "-0"
    return (Machine(name, str(address), _container(site, name), mirror=True),), folder

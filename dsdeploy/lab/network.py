"""The lab's network, and who else may be sitting on its addresses."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_network
from pathlib import Path
from typing import Any

from dsdeploy.errors import LabError
from dsdeploy.lab.layout import Layout
from dsdeploy.lab.podman import LAB, SITE_FILE, Podman


@dataclass(frozen=True)
class Network:
    """A network the program knows. `lab` and `site_file` are empty where it is none of ours."""

    name: str
    subnets: tuple[IPv4Network, ...]
    lab: str = ""
    site_file: str = ""

    def overlaps(self, subnet: IPv4Network) -> bool:
        return any(own.overlaps(subnet) for own in self.subnets)

    @property
    def abandoned(self) -> bool:
        """A lab of ours whose site file is gone: nobody can take it down by name any more."""
        return bool(self.lab and self.site_file) and not Path(self.site_file).exists()


def parse(answer: Iterable[dict[str, Any]]) -> tuple[Network, ...]:
    """`network inspect`, in podman's words or docker's."""
    return tuple(_network(entry) for entry in answer)


def _network(entry: dict[str, Any]) -> Network:
    ranges = entry.get("subnets") or (entry.get("IPAM") or {}).get("Config") or []
    texts = [item.get("subnet") or item.get("Subnet") or "" for item in ranges]
    subnets = tuple(
        net for net in (ip_network(text, strict=False) for text in texts if text) if isinstance(net, IPv4Network)
    )
    labels = entry.get("labels") or entry.get("Labels") or {}
    return Network(
        entry.get("name") or entry.get("Name") or "", subnets, labels.get(LAB, ""), labels.get(SITE_FILE, "")
    )


def interfaces(answer: Iterable[dict[str, Any]]) -> dict[str, tuple[IPv4Interface, ...]]:
    """`ip -j -4 addr show`: this computer's own addresses."""
    return {
        link["ifname"]: tuple(IPv4Interface(f"{item['local']}/{item['prefixlen']}") for item in link["addr_info"])
        for link in answer
        if link.get("addr_info")
    }


def taken(subnet: IPv4Network, networks: Sequence[Network], own: dict[str, tuple[IPv4Interface, ...]]) -> str:
    """This computer's interface that lies in the subnet and belongs to no network of podman's; "" if none."""
    known = [net for network in networks for net in network.subnets]
    for name, addresses in own.items():
        for address in addresses:
            if address.network.overlaps(subnet) and not any(address.ip in net for net in known):
                return f"{name} ({address})"
    return ""


def read(podman: Podman) -> tuple[Network, ...]:
    names = podman.words("network", "ls", "-q")
    return parse(podman.json("network", "inspect", *names)) if names else ()


def attached(podman: Podman, network: str) -> list[str]:
    """Names of the containers on a network, stopped ones too."""
    return podman.words("ps", "-a", "--filter", f"network={network}", "--format", "{{.Names}}")


def require_free(podman: Podman, lab: Layout, networks: Sequence[Network]) -> None:
    """Raises LabError that names whoever uses the lab's addresses."""
    for network in networks:
        if network.name != lab.network and network.overlaps(lab.subnet):
            raise occupied(lab, network, attached(podman, network.name), podman.name)
    done = subprocess.run(["ip", "-j", "-4", "addr", "show"], capture_output=True, text=True, check=True)
    if link := taken(lab.subnet, networks, interfaces(json.loads(done.stdout))):
        raise LabError(
            f"{lab.subnet} is in use by this computer's interface {link}",
            f"lab {lab.name}",
            "give the site's hosts addresses in another /24",
        )


def occupied(lab: Layout, network: Network, containers: Sequence[str], program: str) -> LabError:
    """Who has the addresses, and the command that frees them."""
    who = f"by {', '.join(containers)}" if containers else "though no container is on it"
    where = f"lab {lab.name}"
    if network.lab:
        return LabError(
            f"{lab.subnet} is in use by the lab {network.lab} ({who})",
            where,
            f"dsdeploy lab down --site {network.site_file}",
        )
    remove = f"{program} rm -f {' '.join(containers)}; " if containers else ""
    return LabError(
        f"{lab.subnet} is in use by the network {network.name} ({who})",
        where,
        f"give the site's hosts addresses in another /24, or: {remove}{program} network rm {network.name}",
    )


def create(podman: Podman, lab: Layout, site_file: Path) -> None:
    podman.text(
        "network",
        "create",
        "--subnet",
        str(lab.subnet),
        "--gateway",
        str(gateway(lab)),
        "--label",
        f"{LAB}={lab.name}",
        "--label",
        f"{SITE_FILE}={site_file}",
        lab.network,
    )


def gateway(lab: Layout) -> IPv4Address:
    return lab.subnet.network_address + 1


def remove(podman: Podman, name: str) -> None:
    """Raises LabError that names containers of somebody else on it; they are never taken along."""
    if strangers := attached(podman, name):
        raise LabError(
            f"the network {name} still carries {', '.join(strangers)}",
            "this computer",
            f"{podman.name} rm -f {' '.join(strangers)}, then the same command again",
        )
    podman.text("network", "rm", name)

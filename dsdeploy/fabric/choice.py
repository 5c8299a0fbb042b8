"""Which ports of a host carry NCCL, and the environment that tells the engine. Pure: readings in, values out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsdeploy.facts import Device, Fabric

if TYPE_CHECKING:
    from dsdeploy.facts.fabric_port import Port
    from dsdeploy.site.fabric import Fabric as Settings

Candidate = tuple[Device, "Port"]


@dataclass(frozen=True)
class Rail:
    """A port that carries NCCL. `gid` is the index of its RoCE v2 address, None on InfiniBand."""

    device: str
    port: int
    rate: float
    link: str
    gid: int | None = None

    @property
    def name(self) -> str:
        return f"{self.device}:{self.port}"


@dataclass(frozen=True)
class Choice:
    """`left_out` is port -> why it carries nothing. With `problems` the host cannot be used as the site says."""

    rails: tuple[Rail, ...] = ()
    interface: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def gid(self) -> int | None:
        """The one GID index all rails share; NCCL takes one for all of them."""
        indexes = {rail.gid for rail in self.rails}
        return indexes.pop() if len(indexes) == 1 else None

    @property
    def environment(self) -> dict[str, str]:
        """For NCCL and Gloo; `=` in front makes a name mean itself and not all that begin with it."""
        if not self.rails or not self.interface:
            return {}
        found = {
            "GLOO_SOCKET_IFNAME": self.interface,
            "NCCL_IB_HCA": "=" + ",".join(rail.name for rail in self.rails),
            "NCCL_SOCKET_IFNAME": f"={self.interface}",
        }
        return found if self.gid is None else found | {"NCCL_IB_GID_INDEX": str(self.gid)}


def choose(fabric: Fabric, wanted: Settings, address: str) -> Choice:
    """`address` is the host's in the site file: the interface that has it carries NCCL's sockets."""
    left_out: dict[str, str] = {}
    usable = _usable(fabric, wanted, left_out)
    link = wanted.link if wanted.link != "auto" else _most(usable)
    rate = wanted.rate or max((port.rate for _, port in usable if _speaks(port, link)), default=0)
    rails = []
    for device, port in usable:
        why = _unfit(port, link, rate)
        if why:
            left_out[f"{device.name}:{port.number}"] = why
        else:
            rails.append(Rail(device.name, port.number, port.rate, port.link, _gid(fabric, port)))
    interface = wanted.interface or next((name for name, own in fabric.addresses.items() if address in own), "")
    return Choice(
        rails=tuple(rails),
        interface=interface,
        left_out=left_out,
        problems=tuple(_problems(fabric, wanted, rails, left_out, interface, address)),
        warnings=tuple(_warnings(fabric, rails, left_out)),
    )


def _usable(fabric: Fabric, wanted: Settings, left_out: dict[str, str]) -> list[Candidate]:
    """Ports of hardware that the site file allows, in the order of their names: mlx5_2 before mlx5_10."""
    found = []
    for device in sorted(fabric.devices, key=lambda one: natural(one.name)):
        why = ""
        if not device.hardware:
            why = "a soft device, no hardware"
        elif device.name in wanted.exclude:
            why = "excluded in the site file"
        elif wanted.devices and device.name not in wanted.devices:
            why = "not among the devices of the site file"
        for port in device.ports:
            if why:
                left_out[f"{device.name}:{port.number}"] = why
            else:
                found.append((device, port))
    return found


def _most(usable: list[Candidate]) -> str:
    """What most of the fastest ports that are up speak; InfiniBand, if it is as many."""
    up = [port for _, port in usable if port.up]
    fastest = max((port.rate for port in up), default=0)
    counted = Counter(port.link for port in up if port.rate == fastest)
    return "infiniband" if counted["infiniband"] >= counted["ethernet"] else "roce"


def _speaks(port: Port, link: str) -> bool:
    return port.up and port.link == ("infiniband" if link == "infiniband" else "ethernet")


def _unfit(port: Port, link: str, rate: float) -> str:
    """Why a port cannot be a rail; "" when it can."""
    if port.physical not in ("linkup", ""):
        return f"no link ({port.physical})"
    if not port.up:
        silent = port.link == "infiniband" and port.state in ("init", "armed", "down")
        return f"{port.state or 'no state'}: no subnet manager has set it up" if silent else port.state or "no state"
    if not _speaks(port, link):
        return f"speaks {port.link or 'nothing known'}, not {link}"
    return f"runs at {port.rate:g} Gb/s, not {rate:g}" if port.rate < rate else ""


def _gid(fabric: Fabric, port: Port) -> int | None:
    """RoCE v2 over IPv4, then over an IPv6 address that is routed; the lowest index of several."""
    if port.link != "ethernet":
        return None
    second = [gid for gid in port.gids if gid.kind == "RoCE v2"]
    ranked = [gid.index for gid in second if gid.ipv4] or [
        gid.index for gid in second if not gid.gid.startswith("fe80:")
    ]
    return min(ranked, default=None)


def _problems(
    fabric: Fabric, wanted: Settings, rails: list[Rail], left_out: Mapping[str, str], interface: str, address: str
) -> Iterator[str]:
    known = {device.name for device in fabric.devices}
    missing = [name for name in wanted.devices if name not in known]
    if missing:
        yield f"there is no RDMA device {', '.join(missing)}; there are {', '.join(sorted(known)) or 'none'}"
    used = {rail.device for rail in rails}
    unfit = [name for name in wanted.devices if name in known and name not in used]
    if unfit and rails:
        shown = "; ".join(f"{port}: {why}" for port, why in left_out.items() if port.split(":")[0] in unfit)
        yield f"{', '.join(unfit)} of the site file cannot be used; {shown}"
    least = max(wanted.ports, 1)
    if len(rails) < least:
        shown = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        speed = f" of {wanted.rate} Gb/s" if wanted.rate else ""
        yield f"{len(rails)} of {least} RDMA ports{speed} can be used; {shown or 'there is no RDMA device'}"
    without = [rail.name for rail in rails if rail.link == "ethernet" and rail.gid is None]
    if without:
        yield f"{', '.join(without)}: no RoCE v2 address; give its network interface an IPv4 address"
    if wanted.interface and wanted.interface not in fabric.addresses:
        yield f"there is no network interface {wanted.interface} with an address"
    if not interface:
        yield f"no network interface has the address {address}: name it as fabric.interface"


def _warnings(fabric: Fabric, rails: list[Rail], left_out: Mapping[str, str]) -> Iterator[str]:
    used = {rail.device for rail in rails}
    kinds = {device.kind for device in fabric.devices if device.name in used and device.kind}
    for device in fabric.devices:
        whys = [why for port in device.ports if (why := left_out.get(f"{device.name}:{port.number}", ""))]
        twin = device.kind in kinds and device.name not in used
        if twin and whys and whys[0].startswith(("runs at", "no link", "init", "armed", "down")):
            yield f"{device.name} is left out, others of its kind are not: {whys[0]}"
    if len({rail.gid for rail in rails}) > 1:
        yield "the RoCE v2 address has another index on each port: NCCL has to be 2.21 or newer to find it by itself"


def natural(name: str) -> list[tuple[int, str]]:
    """For sorting: numbers in a name count as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,9})", name) if part]

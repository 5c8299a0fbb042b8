"""What ibv_devinfo says: the devices a program gets through libibverbs and its providers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import fabric_host
from dsdeploy.facts.blocks import blocks
from dsdeploy.facts.fact import Fact, number

if TYPE_CHECKING:
    from dsdeploy.site import Site

_PAIR = re.compile(r"\s*([A-Za-z_]+):\s+(\S.*)")
_GID = re.compile(r"\s*GID\[ *([0-9]{1,5})\]:\s+([0-9a-fA-F:.]{2,45})(?:, (.{1,20}))?\s*")
_SOFT_VENDORS = frozenset({"0x0000", "0xffffff", "0x626d74"})  # rxe before 5.x, rxe, siw


@dataclass(frozen=True)
class Verbs:
    """One device. `link` and `gids` are port 1's; `hardware` is false for vendor numbers of soft devices."""

    name: str
    vendor: str
    part: int
    firmware: str
    hardware: bool
    transport: str = ""
    state: str = ""
    mtu: int = 0  # bytes
    link: str = ""
    gids: dict[int, str] = field(default_factory=dict)  # index -> `RoCE v2` or ""


class IbDevinfo(tuple[Verbs, ...]):
    """Empty where ibv_devinfo is not installed or finds nothing."""


class IbDevinfoFact(Fact[IbDevinfo]):
    value = IbDevinfo

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return fabric_host.arguments(site, host)

    def command(self) -> str:
        return "command -v ibv_devinfo >/dev/null && timeout 15 ibv_devinfo -v; exit 0"

    def process(self, output: list[str]) -> IbDevinfo:
        _, devices = blocks(output, re.compile(r"hca_id:\s").match)
        return IbDevinfo(_device(block) for block in devices)


def _device(lines: list[str]) -> Verbs:
    told: dict[str, str] = {}
    gids: dict[int, str] = {}
    for line in lines:
        gid = _GID.fullmatch(line)
        if gid:
            gids.setdefault(int(gid[1]), (gid[3] or "").strip())
        elif pair := _PAIR.match(line):
            told.setdefault(pair[1], pair[2].strip()[:60])  # the first port's, of several
    vendor = told.get("vendor_id", "").lower()
    mtu = re.match(r"[0-9]{1,5}", told.get("active_mtu", ""))
    return Verbs(
        name=told.get("hca_id", ""),
        vendor=vendor,
        part=number(told.get("vendor_part_id", "")) or 0,
        firmware=told.get("fw_ver", ""),
        hardware=bool(vendor) and vendor not in _SOFT_VENDORS,
        transport=told.get("transport", "").split(" ")[0].lower(),
        state=told.get("state", "").removeprefix("PORT_").split(" ")[0].lower(),
        mtu=int(mtu[0]) if mtu else 0,
        link=told.get("link_layer", "").lower(),
        gids=gids,
    )

"""One port of an RDMA device, from what sysfs says of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from dsdeploy.facts.fact import number

_RATE = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,2})?) Gb/sec(?: \(([^)]{1,20})\))?")
_STATE = re.compile(r"[0-9]: *([A-Za-z]+)")
_GID = re.compile(r"gid ([0-9]{1,5}) ([0-9a-f:]{15,39}) (\S+) ?(.{0,20})")


@dataclass(frozen=True)
class Gid:
    """An address of a port. `kind` is `IB/RoCE v1` or `RoCE v2`, `ipv4` the address it is made of or ""."""

    index: int
    gid: str
    kind: str = ""
    interface: str = ""
    ipv4: str = ""


@dataclass(frozen=True)
class Port:
    """`rate` in Gb/s, 0 where it is not told; `link` is infiniband, ethernet or ""."""

    number: int
    state: str = ""  # active, down, init, armed
    physical: str = ""  # linkup, polling, disabled
    rate: float = 0.0
    speed: str = ""  # 4X NDR
    link: str = ""
    lid: int = 0
    sm_lid: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    gids: tuple[Gid, ...] = ()

    @property
    def up(self) -> bool:
        return self.state == "active" and self.physical in ("linkup", "")


def port(lines: list[str]) -> Port:
    """From the lines of one port: `port 1`, `state 4: ACTIVE`, `counter symbol_error 0`, `gid 3 … eth0 RoCE v2`."""
    told = {key: value.strip() for key, blank, value in (line.partition(" ") for line in lines) if blank}
    rate = _RATE.match(told.get("rate", ""))
    counters = {}
    for line in lines:
        words = line.split()
        if len(words) == 3 and words[0] == "counter" and (count := number(words[2])) is not None:
            counters[words[1]] = count
    return Port(
        number=number(told.get("port", "")) or 0,
        state=_word(told.get("state", "")),
        physical=_word(told.get("phys_state", "")),
        rate=float(rate[1]) if rate else 0.0,
        speed=(rate[2] or "") if rate else "",
        link=told.get("link_layer", "").lower()[:20],
        lid=_hex(told.get("lid", "")),
        sm_lid=_hex(told.get("sm_lid", "")),
        counters=counters,
        gids=tuple(_gid(found) for line in lines if (found := _GID.fullmatch(line.rstrip()))),
    )


def _word(text: str) -> str:
    """`active` from `4: ACTIVE`."""
    found = _STATE.match(text)
    return found[1].lower() if found else ""


def _hex(text: str) -> int:
    return int(text, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text) else 0


def _gid(found: re.Match[str]) -> Gid:
    interface = "" if found[3] == "-" else found[3][:15]
    return Gid(int(found[1]), found[2], found[4].strip(), interface, _ipv4(found[2]))


def _ipv4(gid: str) -> str:
    """`10.0.0.1` from `0000:…:ffff:0a00:0001`."""
    try:
        mapped = IPv6Address(gid).ipv4_mapped
    except ValueError:
        return ""
    return str(mapped) if mapped else ""

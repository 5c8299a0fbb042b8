"""What ibstat says: the devices that rdma-core's management library (libibumad) finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import fabric_host
from dsdeploy.facts.blocks import blocks
from dsdeploy.facts.fact import Fact, number

if TYPE_CHECKING:
    from dsdeploy.site import Site

_RATE = re.compile(r"[0-9]{1,5}(\.[0-9])?")


@dataclass(frozen=True)
class IbPort:
    """`rate` in Gb/s as ibstat rounds it; `link` is infiniband or ethernet."""

    number: int
    state: str
    physical: str
    rate: float
    link: str
    lid: int = 0
    sm_lid: int = 0


@dataclass(frozen=True)
class Adapter:
    """`hardware` is false where there is neither a type nor firmware: ibstat shows rxe as Active at rate 100."""

    name: str
    kind: str
    firmware: str
    hardware: bool
    ports: tuple[IbPort, ...] = ()


class IbStat(tuple[Adapter, ...]):
    """Empty where ibstat is not installed or finds nothing."""


class IbStatFact(Fact[IbStat]):
    """An adapter that ibstat gives up at (ibpanic) does not take away those before it."""

    value = IbStat

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return fabric_host.arguments(site, host)

    def command(self) -> str:
        return "command -v ibstat >/dev/null && timeout 15 ibstat; exit 0"

    def process(self, output: list[str]) -> IbStat:
        _, adapters = blocks(output, re.compile(r"(CA|RNIC|iWARP RNIC) '").match)
        return IbStat(_adapter(block) for block in adapters)


def _adapter(lines: list[str]) -> Adapter:
    head, ports = blocks(lines, re.compile(r"\s+Port [0-9]{1,3}:$").match)
    own = dict(_pairs(head))
    kind = next((value for key, value in own.items() if key.endswith(" type")), "")
    firmware = own.get("Firmware version", "")
    return Adapter(
        name=lines[0].split("'")[1][:63],
        kind=kind,
        firmware=firmware,
        hardware=bool(kind and firmware),
        ports=tuple(_port(block) for block in ports),
    )


def _port(lines: list[str]) -> IbPort:
    told = dict(_pairs(lines))
    rate = _RATE.match(told.get("Rate", ""))
    return IbPort(
        number=number(lines[0].strip().removeprefix("Port ").rstrip(":")) or 0,
        state=told.get("State", "").lower(),
        physical=told.get("Physical state", "").lower(),
        rate=float(rate[0]) if rate else 0.0,
        link=told.get("Link layer", "").lower(),
        lid=number(told.get("Base lid", "")) or 0,
        sm_lid=number(told.get("SM lid", "")) or 0,
    )


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()[:60]

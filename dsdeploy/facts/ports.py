"""TCP ports somebody listens on, and who."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number

_USER = re.compile(r'\(\("([^"]*)",pid=(\d+)')
_LISTEN = "0A"  # the state's number in /proc/net/tcp


@dataclass(frozen=True)
class Port:
    """`address` is "*" for all; `process` is "" and `pid` None where the host did not say."""

    port: int
    address: str
    process: str
    pid: int | None


class Ports(tuple[Port, ...]):
    """Sorted by port and address."""

    def at(self, port: int, address: str = "*") -> Port | None:
        """Who listens there, so that binding this address and port would fail."""
        for taken in self:
            if taken.port == port and ("*" in (taken.address, address) or taken.address == address):
                return taken
        return None


class PortsFact(Fact[Ports]):
    value = Ports

    def command(self) -> str:
        return "ss -ltnp 2>/dev/null || grep -hs ':' /proc/net/tcp /proc/net/tcp6"

    def process(self, output: list[str]) -> Ports:
        found = {port for line in output if (port := _from_ss(line) or _from_proc(line))}
        return Ports(sorted(found, key=lambda port: (port.port, port.address, port.pid or 0)))


def _from_ss(line: str) -> Port | None:
    words = line.split()
    if len(words) < 5 or words[0] != "LISTEN":
        return None
    address, _, port = words[3].rpartition(":")
    count = number(port)
    if count is None:
        return None
    user = _USER.search(line)
    address = address.strip("[]").partition("%")[0].removeprefix("::ffff:")
    return Port(
        port=count,
        address="*" if address in ("0.0.0.0", "::", "*") else address,
        process=user[1] if user else "",
        pid=int(user[2]) if user else None,
    )


def _from_proc(line: str) -> Port | None:
    """`0: 0100007F:1F90 00000000:0000 0A …`: address in little-endian words, port in hex."""
    words = line.split()
    if len(words) < 4 or words[3] != _LISTEN:
        return None
    address, _, port = words[1].partition(":")
    try:
        packed = bytes.fromhex(address)
        swapped = b"".join(packed[i : i + 4][::-1] for i in range(0, len(packed), 4))
        host = ipaddress.ip_address(swapped)
        host = getattr(host, "ipv4_mapped", None) or host
        return Port(int(port, 16), "*" if host.is_unspecified else str(host), "", None)
    except ValueError:
        return None

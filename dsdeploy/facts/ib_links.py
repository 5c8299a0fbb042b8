"""What `rdma link` says: ports, their state, and the network interface each belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import fabric_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

# with an index before it (`0/1: `) in older iproute2
_LINK = re.compile(r"(?:[0-9]{1,5}/[0-9]{1,3}: )?(?:link )?([A-Za-z][\w.-]{0,62})/([0-9]{1,3}):? (.*)")


@dataclass(frozen=True)
class RdmaLink:
    """`interface` is "" where the port is none's, as an InfiniBand port without IPoIB."""

    device: str
    port: int
    state: str
    physical: str
    interface: str = ""


class RdmaLinks(tuple[RdmaLink, ...]):
    """In the kernel's order."""


class RdmaLinksFact(Fact[RdmaLinks]):
    value = RdmaLinks

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return fabric_host.arguments(site, host)

    def command(self) -> str:
        return "command -v rdma >/dev/null && timeout 10 rdma link show; exit 0"

    def process(self, output: list[str]) -> RdmaLinks:
        return RdmaLinks(_link(found) for line in output if (found := _LINK.fullmatch(line.strip()[:400])))


def _link(found: re.Match[str]) -> RdmaLink:
    words = found[3].split()
    told = dict(pairwise(words))
    return RdmaLink(
        device=found[1],
        port=int(found[2]),
        state=told.get("state", "").lower(),
        physical=told.get("physical_state", "").lower().replace("_", ""),
        interface=told.get("netdev", ""),
    )

"""What a ZooKeeper member says of itself: `srvr`, the one four-letter word open by default.

Asked on the member's own host, over SSH, at the address and port it serves clients on: a member
outside the quorum refuses sessions, so a client library cannot describe a sick one; and `ruok` says
`imok` from a member that serves nobody. Whatever is not an answer is `answered=False`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.shell import answered, tcp

if TYPE_CHECKING:
    from dsdeploy.site import Site

MODES = frozenset({"leader", "follower", "observer", "standalone"})
_SECONDS = 3

_SAID = (  # what stands in the answer -> what it means
    ("not currently serving requests", "up, but outside the quorum"),
    ("not in the whitelist", "srvr is not in its 4lw.commands.whitelist"),
    ("Connection refused", "nothing listens on its client port"),
    ("No route to host", "its own address cannot be reached"),
    ("end 127", "bash is missing on the host"),
    ("end 124", f"accepts connections but says nothing for {_SECONDS} s"),
)


@dataclass(frozen=True)
class Srvr:
    """`mode` is leader, follower, observer or standalone, "" when not answered; then `error` says why."""

    answered: bool
    mode: str = ""
    zxid: int | None = None
    version: str = ""
    connections: int | None = None
    error: str = ""


class SrvrFact(Fact[Srvr]):
    value = Srvr

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        if not any(member.host == host for member in site.members):
            return None
        return {"address": site.hosts[host].address, "port": site.zookeeper.client_port}

    def command(self, address: str, port: int) -> str:
        return tcp(address, port, "srvr", _SECONDS)

    def process(self, output: list[str]) -> Srvr:
        lines = answered(output)
        fields = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                fields[name.strip()] = value.strip()
        mode = fields.get("Mode", "")
        if mode not in MODES:
            return Srvr(False, error=_why(lines))
        return Srvr(
            answered=True,
            mode=mode,
            zxid=_zxid(fields.get("Zxid", "")),
            version=fields.get("Zookeeper version", "").partition("-")[0].partition(",")[0],
            connections=number(fields.get("Connections", "")),
        )


def _why(lines: list[str]) -> str:
    text = "\n".join(lines)
    for said, meaning in _SAID:
        if said in text:
            return meaning
    return "gave an answer that is not srvr's" if text.strip() else "gave no answer"


def _zxid(text: str) -> int | None:
    return int(text, 16) if re.fullmatch(r"0x[0-9a-f]{1,16}", text) else None

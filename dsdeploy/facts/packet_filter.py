"""From where the controller reaches a host, and whether the packet filter of dsdeploy is loaded there."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site


@dataclass(frozen=True)
class PacketFilter:
    """`caller` is the controller's address as the host sees it, "" where nothing tells."""

    caller: str
    loaded: bool


class PacketFilterFact(Fact[PacketFilter]):
    """sshd tells its child who called; sudo forgets it, so the processes above are asked one by one."""

    value = PacketFilter

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return None if site.firewall is None else {}

    def command(self) -> str:
        return r"""
p=$$
while [ "${p:-1}" -gt 1 ]; do
  tr '\0' '\n' 2>/dev/null < "/proc/$p/environ" | grep '^SSH_CONNECTION=' && break
  p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null)
done
PATH=$PATH:/usr/sbin:/sbin nft list table inet dsdeploy >/dev/null 2>&1 && echo loaded
exit 0
"""

    def process(self, output: list[str]) -> PacketFilter:
        told = [line.partition("=")[2].split() for line in output if line.startswith("SSH_CONNECTION=")]
        return PacketFilter(_address(told[0][0]) if told and told[0] else "", "loaded" in output)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""

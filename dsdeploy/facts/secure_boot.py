"""Whether the firmware lets only signed kernel modules in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

_VARIABLE = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


@dataclass(frozen=True)
class SecureBoot:
    """`on` is None where nothing could tell; `told` is what did: mokutil, efivars or bios."""

    on: bool | None
    told: str = ""


class SecureBootFact(Fact[SecureBoot]):
    """mokutil first, then the firmware's own variable (four bytes of attributes, then 0 or 1)."""

    value = SecureBoot

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        return f"""
[ -d /sys/firmware/efi ] || {{ echo bios; exit 0; }}
command -v mokutil >/dev/null && mokutil --sb-state 2>/dev/null
[ -r {_VARIABLE} ] && echo "efivars $(od -An -t u1 -j 4 -N 1 {_VARIABLE})"
exit 0
"""

    def process(self, output: list[str]) -> SecureBoot:
        states = {"SecureBoot enabled": True, "SecureBoot disabled": False}
        for line in output:
            if line.strip() in states:
                return SecureBoot(states[line.strip()], "mokutil")
        for line in output:
            words = line.split()
            if words[:1] == ["efivars"] and words[1:] in (["0"], ["1"]):
                return SecureBoot(words[1] == "1", "efivars")
        return (
            SecureBoot(False, "bios")
            if [line.strip() for line in output if line.strip()] == ["bios"]
            else SecureBoot(None)
        )

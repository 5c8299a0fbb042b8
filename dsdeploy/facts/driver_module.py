"""The NVIDIA kernel module in memory, and Fabric Manager beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

_MODULE = re.compile(r"NVRM version:.*? (Open )?Kernel Module(?: for \S+)?\s+([0-9]+(?:\.[0-9]+)+)")
_FABRIC = re.compile(r"fabric .*?([0-9]+(?:\.[0-9]+)+)\s*")


@dataclass(frozen=True)
class DriverModule:
    """Versions as text. `loaded` is "" without a module in memory, `flavour` open, proprietary or "".

    `fabric_manager` is "" where it is not installed.
    """

    loaded: str = ""
    flavour: str = ""
    fabric_manager: str = ""


class DriverModuleFact(Fact[DriverModule]):
    """Differs from nvidia-smi's version after an upgrade without a reboot."""

    value = DriverModule

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        return """
[ -r /proc/driver/nvidia/version ] && head -n 1 /proc/driver/nvidia/version
command -v nv-fabricmanager >/dev/null && echo "fabric $(timeout 5 nv-fabricmanager --version 2>/dev/null | head -n 1)"
exit 0
"""

    def process(self, output: list[str]) -> DriverModule:
        module = next((found for line in output if (found := _MODULE.match(line[:500]))), None)
        fabric = next((found for line in output if (found := _FABRIC.match(line[:500]))), None)
        return DriverModule(
            loaded=module[2] if module else "",
            flavour=("open" if module[1] else "proprietary") if module else "",
            fabric_manager=fabric[1] if fabric else "",
        )

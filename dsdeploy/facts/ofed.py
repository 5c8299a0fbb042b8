"""NVIDIA's RDMA stack on a host that is to have it: installed or not, and whether what it replaces is in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import fabric_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site


@dataclass(frozen=True)
class Ofed:
    """`loaded`: the adapters' kernel module is in memory, the distribution's or an earlier one."""

    installed: bool = False
    loaded: bool = False


class OfedFact(Fact[Ofed]):
    value = Ofed

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return fabric_host.arguments(site, host) if site.fabric is not None and site.fabric.ofed else None

    def command(self) -> str:
        return """
command -v ofed_info >/dev/null && echo installed
[ -d /sys/module/mlx5_core ] && echo loaded
exit 0
"""

    def process(self, output: list[str]) -> Ofed:
        return Ofed("installed" in output, "loaded" in output)

"""Whether a ZooKeeper member runs with a configuration older than the one on its disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site


@dataclass(frozen=True)
class RestartNeeded:
    """`marked` is set by the zookeeper role; `what` is its note of what changed."""

    marked: bool
    what: str = ""


class RestartNeededFact(Fact[RestartNeeded]):
    value = RestartNeeded

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if "zookeeper" in site.hosts[host].roles else None

    def command(self) -> str:
        return "f=/var/lib/dsdeploy/zookeeper.restart-needed; [ -e $f ] && echo marked && head -c 500 $f"

    def process(self, output: list[str]) -> RestartNeeded:
        if not output or output[0] != "marked":
            return RestartNeeded(marked=False)
        return RestartNeeded(True, " ".join(output[1:]))

"""Which site a host says it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact


@dataclass(frozen=True)
class SiteId:
    """`name` is None on a host no site has claimed."""

    name: str | None


class SiteIdFact(Fact[SiteId]):
    value = SiteId

    def command(self) -> str:
        return "head -c 200 /var/lib/dsdeploy/site 2>/dev/null"

    def process(self, output: list[str]) -> SiteId:
        first = output[0].strip() if output else ""
        return SiteId(first or None)

"""Models that callers asked a router for, and that it does not serve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.router import SOCKET, asked

if TYPE_CHECKING:
    from dsdeploy.site import Site

_ROW = re.compile(r"0x[0-9a-f]+: key=(.{1,400}?) use=[0-9]+ exp=[0-9]+ (?:shard=[0-9]+ )?gpc0=([0-9]{1,10})", re.ASCII)


class UnknownModels(dict[str, int]):
    """Requests refused in the last minutes, by the name they gave: 64 characters of it, as HAProxy writes them."""


class UnknownModelsFact(Fact[UnknownModels]):
    """`show table` (HAProxy management guide, 9.3) escapes what would end a row in a key."""

    value = UnknownModels

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if "router" in site.hosts[host].roles else None

    def command(self, at: str = SOCKET) -> str:
        return asked("show table strangers", at)

    def process(self, output: list[str]) -> UnknownModels:
        rows = (_ROW.fullmatch(line[:600].strip()) for line in output)
        return UnknownModels({row[1]: int(row[2]) for row in rows if row})

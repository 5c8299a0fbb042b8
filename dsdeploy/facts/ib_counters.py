"""Port counters through the subnet (perfquery): 64 bits wide, and of InfiniBand ports only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import fabric_host
from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.shell import sections

if TYPE_CHECKING:
    from dsdeploy.site import Site

_LINE = re.compile(r"([A-Za-z0-9]{1,60}):\.*(0x[0-9A-Fa-f]{1,16}|[0-9]{1,20})")


class PortCounters(dict[str, dict[str, int]]):
    """`mlx5_0/1` -> counter -> count; data counters are in units of four bytes, as the standard has them."""


class PortCountersFact(Fact[PortCounters]):
    """perfquery needs ib_umad and root; where it may not, the port is left out. Older firmware has no -x."""

    value = PortCounters

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return fabric_host.arguments(site, host)

    def command(self) -> str:
        return """
command -v perfquery >/dev/null || exit 0
for p in /sys/class/infiniband/*/ports/*; do
  { read -r layer < "$p/link_layer"; read -r state < "$p/state"; } 2>/dev/null || continue
  [ "$layer" = InfiniBand ] || continue
  case $state in *ACTIVE*) ;; *) continue ;; esac
  d=${p%/ports/*}; d=${d##*/}
  echo "== $d/${p##*/}"
  timeout 5 perfquery -C "$d" -P "${p##*/}" -x || timeout 5 perfquery -C "$d" -P "${p##*/}"
done
exit 0
"""

    def process(self, output: list[str]) -> PortCounters:
        found = PortCounters()
        for title, lines in sections(output).items():
            read = (_LINE.fullmatch(line.strip()) for line in lines)
            counters = {one[1]: _count(one[2]) for one in read if one and not one[1].endswith(("Select", "Select2"))}
            if counters:
                found[title[:80]] = counters
        return found


def _count(text: str) -> int:
    return int(text, 16) if text.startswith("0x") else number(text) or 0

"""How much memory the engines hold that run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact, number
from dsdeploy.facts.shell import sections

if TYPE_CHECKING:
    from dsdeploy.site import Site


class Footprint(dict[str, int]):
    """Resident bytes of the main process, by colour; a colour that does not run is not in it."""


class FootprintFact(Fact[Footprint]):
    value = Footprint

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if "engine" in site.hosts[host].roles else None

    def command(self) -> str:
        return r"""
for c in blue green; do
  pid=$(systemctl show -p MainPID "dsdeploy-engine@$c.service"); pid=${pid#MainPID=}
  echo "== $c"; [ "${pid:-0}" -gt 0 ] && grep '^VmRSS:' "/proc/$pid/status"
done
"""

    def process(self, output: list[str]) -> Footprint:
        found = sections(output)
        sizes = {colour: _bytes(found.get(colour, [])) for colour in ("blue", "green")}
        return Footprint({colour: size for colour, size in sizes.items() if size})


def _bytes(lines: list[str]) -> int:
    """2048 from `VmRSS:     2 kB`."""
    words = lines[0].split() if lines else []
    kibibytes = number(words[1]) if len(words) == 3 and words[::2] == ["VmRSS:", "kB"] else None
    return (kibibytes or 0) * 1024

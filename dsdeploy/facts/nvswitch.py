"""NVIDIA devices on the PCI bus: they are there before any driver is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

_LINE = re.compile(r"pci ([0-9a-f:.]{7,16}) 0x([0-9a-f]{6})")
_SWITCH, _GPU = "0680", ("0300", "0302")  # bridge of another kind; VGA and 3D controllers


@dataclass(frozen=True)
class NvSwitch:
    """`switches` and `gpus` count devices; both None where the bus could not be read.

    Boards with NVLink 5 (B200) hide their switches behind InfiniBand devices: 0 there proves nothing.
    """

    switches: int | None
    gpus: int | None


class NvSwitchFact(Fact[NvSwitch]):
    value = NvSwitch

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        return """
[ -d /sys/bus/pci/devices ] && echo bus
for device in /sys/bus/pci/devices/*; do
  [ -r "$device/vendor" ] || continue
  read -r vendor < "$device/vendor"
  [ "$vendor" = 0x10de ] || continue
  read -r class < "$device/class"
  echo "pci ${device##*/} $class"
done
"""

    def process(self, output: list[str]) -> NvSwitch:
        if "bus" not in output:
            return NvSwitch(None, None)
        kinds = [found[2][:4] for line in output if (found := _LINE.fullmatch(line.strip()))]
        return NvSwitch(kinds.count(_SWITCH), sum(kind in _GPU for kind in kinds))

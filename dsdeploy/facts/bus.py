"""NVIDIA GPUs by their device numbers on the PCI bus: what tells a generation before any driver is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

_LINE = re.compile(r"gpu 0x([0-9a-f]{4})", re.ASCII)


class BusGpus(tuple[int, ...]):
    """Device numbers in the order of the bus, one for each GPU."""


class BusGpusFact(Fact[BusGpus]):
    value = BusGpus

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        return """
for device in /sys/bus/pci/devices/*; do
  [ -r "$device/device" ] || continue
  read -r vendor < "$device/vendor"
  read -r class < "$device/class"
  [ "$vendor" = 0x10de ] || continue
  case $class in 0x0300*|0x0302*) read -r number < "$device/device"; echo "gpu $number" ;; esac
done
"""

    def process(self, output: list[str]) -> BusGpus:
        return BusGpus(int(found[1], 16) for line in output if (found := _LINE.fullmatch(line.strip())))

"""How near each GPU is to each RDMA device, from the matrix of `nvidia-smi topo -m`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

NEAREST = ("PIX", "PXB", "PHB", "NODE", "SYS")  # fewer bridges first; NV# is between GPUs alone

_NAME = re.compile(r"(GPU|NIC)[0-9]{1,3}|[A-Za-z][A-Za-z0-9]*_[A-Za-z0-9_]+")
_LEGEND = re.compile(r"\s*(NIC[0-9]{1,3}): ([A-Za-z]\w{0,62})\s*")
# the terminal's underline around the heading, with its escape or with what is left of it
_DRAWN = re.compile(r"\x1b?\[[0-9;]*m")
_LINK = re.compile(r"X|NV[0-9]{1,2}|PIX|PXB|PHB|NODE|SYS")


class GpuTopology(dict[int, dict[str, str]]):
    """GPU -> RDMA device or `GPU1` -> PIX, PXB, PHB, NODE, SYS or NV18."""

    def nearest(self, device: str) -> int | None:
        """The GPU with the shortest way to a device, the lowest number of several; None where it is unknown."""
        ways = {gpu: NEAREST.index(way) for gpu, row in self.items() if (way := row.get(device, "")) in NEAREST}
        return min(ways, key=lambda gpu: (ways[gpu], gpu)) if ways else None


class GpuTopologyFact(Fact[GpuTopology]):
    """Drivers before 510 head the columns with device names, later ones with NIC0 and a legend below."""

    value = GpuTopology

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        return "command -v nvidia-smi >/dev/null || exit 0\ntimeout 20 nvidia-smi topo -m"

    def process(self, output: list[str]) -> GpuTopology:
        lines = [_DRAWN.sub("", line) for line in output]
        legend = {named[1]: named[2] for line in lines if (named := _LEGEND.fullmatch(line))}
        columns: list[str] = []
        found = GpuTopology()
        for line in lines:
            words = line.split()
            if not columns and words[:1] == ["GPU0"] and not (words[1:] and _LINK.fullmatch(words[1])):
                columns = [word for word in words if _NAME.fullmatch(word) and word not in ("CPU_Affinity",)]
            elif columns and words and re.fullmatch(r"GPU[0-9]{1,3}", words[0]):
                row = dict(zip(columns, words[1:], strict=False))
                found[int(words[0][3:])] = {
                    legend.get(name, name): way for name, way in row.items() if _LINK.fullmatch(way) and way != "X"
                }
        return found

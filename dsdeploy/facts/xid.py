"""What the kernel's log of this boot says of GPUs and RDMA links: XIDs, lost GPUs, links that went down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import gpu_host
from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

MOST = 200

_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9A-Fa-f:.]{7,16})\): ([0-9]{1,4}), ?(.*)")
_LOST = re.compile(r"NVRM: The NVIDIA GPU ([0-9A-Fa-f:.]{7,16})")
_OFF_THE_BUS = re.compile(r"NVRM: .*fallen off the bus", re.IGNORECASE)
_FLAP = re.compile(r"mlx[45]_core \S+ (\S+?):? (?:Port: [0-9]+ )?Link (?:down|DOWN)")


@dataclass(frozen=True)
class Xid:
    """`bus` as the log writes it (0000:17:00); `times` is how often this code came from this GPU."""

    bus: str
    code: int
    text: str
    times: int = 1


@dataclass(frozen=True)
class GpuLog:
    """`read` is false where the log could not be read: nothing is proven by its silence then.

    `lost` are GPUs that fell off the bus without an XID; `flaps` is interface or device -> times it went down.
    """

    read: bool
    xids: tuple[Xid, ...] = ()
    lost: tuple[str, ...] = ()
    flaps: dict[str, int] = field(default_factory=dict)


class GpuLogFact(Fact[GpuLog]):
    """The journal remembers the whole boot; the kernel's own ring, asked where there is none, forgets."""

    value = GpuLog

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return gpu_host.arguments(site, host)

    def command(self) -> str:
        wanted = "NVRM: |mlx[45]_core .* Link (down|DOWN)"
        return f"""
said=$(journalctl -k -b -q --no-pager -o cat 2>/dev/null | grep -E '{wanted}' | tail -n 2000)
if journalctl -k -b -q --no-pager -n 1 2>/dev/null | grep -q .; then echo log
elif dmesg >/dev/null 2>&1; then echo log; said=$(dmesg 2>/dev/null | grep -E '{wanted}' | tail -n 2000)
fi
printf '%s\\n' "$said"
"""

    def process(self, output: list[str]) -> GpuLog:
        counted: dict[tuple[str, int], list[str]] = {}
        flaps: dict[str, int] = {}
        lost: list[str] = []
        at = ""
        for line in (line[:1000] for line in output):
            if found := _XID.search(line):
                counted.setdefault((found[1], int(found[2])), []).append(found[3])
            elif found := _LOST.search(line):
                at = found[1]
            elif _OFF_THE_BUS.search(line):
                lost.append(at or "a GPU")
            elif found := _FLAP.search(line):
                flaps[found[1]] = flaps.get(found[1], 0) + 1
        xids = [Xid(bus, code, texts[-1].strip()[:160], len(texts)) for (bus, code), texts in counted.items()]
        return GpuLog("log" in output, tuple(xids[-MOST:]), tuple(dict.fromkeys(lost)), flaps)

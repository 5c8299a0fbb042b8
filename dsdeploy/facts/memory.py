"""Memory, from /proc/meminfo."""

from __future__ import annotations

from dataclasses import dataclass

from dsdeploy.facts.fact import Fact, number


@dataclass(frozen=True)
class Memory:
    """Bytes. `available` is what new processes can have without swapping; `swap` is its total."""

    total: int
    available: int
    swap: int


def meminfo(lines: list[str]) -> dict[str, int]:
    """/proc/meminfo as bytes; entries without a unit (HugePages_Total) as they are."""
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        words = rest.split()
        count = number(words[0]) if words else None
        if count is not None:
            found[name.strip()] = count * 1024 if words[1:] == ["kB"] else count
    return found


class MemoryFact(Fact[Memory]):
    value = Memory

    def command(self) -> str:
        return "cat /proc/meminfo"

    def process(self, output: list[str]) -> Memory:
        found = meminfo(output)
        # MemAvailable is missing on kernels before 3.14; free + page cache is the usual stand-in
        stand_in = found.get("MemFree", 0) + found.get("Cached", 0) + found.get("Buffers", 0)
        return Memory(
            total=found.get("MemTotal", 0),
            available=found.get("MemAvailable", stand_in),
            swap=found.get("SwapTotal", 0),
        )

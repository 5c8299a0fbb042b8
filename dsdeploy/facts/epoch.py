"""The highest run number a host has seen, and whose it was."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsdeploy.facts.fact import Fact

_LINE = re.compile(r"([0-9]{1,18}) ([0-9A-Za-z-]{1,200})", re.ASCII)


@dataclass(frozen=True)
class Epoch:
    """0 and no run on a host no run has reached; `damaged` when the file says something else."""

    number: int = 0
    run: str = ""
    damaged: bool = False


class EpochFact(Fact[Epoch]):
    value = Epoch

    def command(self) -> str:
        return "f=/var/lib/dsdeploy/epoch; [ -e $f ] && echo present && head -c 400 $f"

    def process(self, output: list[str]) -> Epoch:
        if not output or output[0] != "present":
            return Epoch()
        found = _LINE.fullmatch(output[1]) if len(output) > 1 else None
        return Epoch(int(found.group(1)), found.group(2)) if found else Epoch(damaged=True)

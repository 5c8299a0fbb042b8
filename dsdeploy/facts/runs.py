"""The runs that touched a host, from the journals it keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.lines import count, document, documents
from dsdeploy.facts.shell import sections

_RUN = re.compile(r"[0-9A-Za-z-]{1,200}")
_WHOLE = 2  # journals read whole, the last written; of the others the first line and the last


@dataclass(frozen=True)
class HostRun:
    """One run as this host has it on disk.

    `begin` is the first line, empty when it was torn. `steps` are in order, and only of the two journals
    last written, at most the last 64 KiB of them. `last` is the last whole line: an `end`, or where it stopped.
    """

    run: str
    begin: dict[str, Any] = field(default_factory=dict)
    steps: tuple[dict[str, Any], ...] = ()
    last: dict[str, Any] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The highest number the run had here; it gets a new one each time it is taken up again."""
        return max(count(line.get("epoch")) for line in (self.begin, *self.steps, self.last))

    @property
    def ended(self) -> bool:
        return self.last.get("kind") == "end"


class Runs(tuple[HostRun, ...]):
    """Newest last: by epoch, and by id where epochs are equal."""


class RunsFact(Fact[Runs]):
    value = Runs

    def command(self) -> str:
        # 50 journals of at most 12 KiB, and two of 64 KiB: well below what a part may print
        return f"""
cd /var/lib/dsdeploy/runs 2>/dev/null || exit 0
for f in *.jsonl; do
  [ -f "$f" ] || continue
  echo "== begin ${{f%.jsonl}}"; head -n 1 "$f" | head -c 8192; echo
  echo "== last ${{f%.jsonl}}"; tail -c 4096 "$f" | tail -n 2; echo
done
for f in $(ls -t | grep '^[0-9A-Za-z-]*[.]jsonl$' | head -n {_WHOLE}); do
  echo "== steps ${{f%.jsonl}}"; tail -c 65536 "$f"; echo
done
"""

    def process(self, output: list[str]) -> Runs:
        found = sections(output)
        names = [title[6:] for title in found if title.startswith("begin ")]
        runs = [_run(name, found) for name in names if _RUN.fullmatch(name)]
        return Runs(sorted(runs, key=lambda run: (run.epoch, run.run)))


def _run(name: str, found: dict[str, list[str]]) -> HostRun:
    begin = document((found[f"begin {name}"] or [""])[0])
    steps = tuple(line for line in documents(found.get(f"steps {name}", [])) if line.get("kind") == "step")
    ends = documents(found.get(f"last {name}", []))
    last = ends[-1] if ends else steps[-1] if steps else begin
    return HostRun(name, begin if begin.get("kind") == "begin" else {}, steps, last)

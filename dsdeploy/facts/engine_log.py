"""The last words of each colour's engine, for the sentence that says why it did not start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.shell import sections

if TYPE_CHECKING:
    from dsdeploy.site import Site

_LINES = 12
_WIDTH = 300


class EngineLog(dict[str, tuple[str, ...]]):
    """By colour: its unit's last lines in the journal, systemd's own among them; a colour without any is left out."""


class EngineLogFact(Fact[EngineLog]):
    value = EngineLog

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if "engine" in site.hosts[host].roles else None

    def command(self) -> str:
        # marked, so that no line of an engine can look like ours; an entry may have several lines
        read = f'journalctl -q -o cat --no-pager -n {_LINES} -u "dsdeploy-engine@$c.service" | tail -n {_LINES}'
        return f"for c in blue green; do echo \"== $c\"; {read} | head -c 65536 | sed 's/^/| /'; done"

    def process(self, output: list[str]) -> EngineLog:
        found = sections(output)
        said = {colour: _last(found.get(colour, [])) for colour in ("blue", "green")}
        return EngineLog({colour: lines for colour, lines in said.items() if lines})


def _last(lines: list[str]) -> tuple[str, ...]:
    kept = [line[2:].rstrip()[:_WIDTH] for line in lines if line.startswith("| ")]
    return tuple([line for line in kept if line][-_LINES:])

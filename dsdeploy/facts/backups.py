"""What a host says of its snapshots."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact
from dsdeploy.facts.python import PYTHON

if TYPE_CHECKING:
    from dsdeploy.site import Site

HOME = "/usr/local/lib/dsdeploy/backup"
TEXT = 300


@dataclass(frozen=True)
class Snapshot:
    """One snapshot: `state` is "good", or what is wrong with it; `offsite` its id there, "" while it is here only."""

    sequence: int
    id: str
    kind: str
    at: str
    state: str
    offsite: str
    bytes: int


@dataclass(frozen=True)
class Backups:
    """`newest` is the id of the one to restore, "" without any; `problem` why nothing better is known."""

    snapshots: tuple[Snapshot, ...] = ()
    newest: str = ""
    unknown: int = 0
    problem: str = ""
    rehearsed: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Snapshot | None:
        return next((one for one in self.snapshots if one.id == self.newest), None)


class BackupsFact(Fact[Backups]):
    value = Backups

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if site.backup else None

    def command(self) -> str:
        return f"cd {HOME} && {PYTHON} -B -m dsdeploy_backup --json list"

    def process(self, output: list[str]) -> Backups:
        for line in output:
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                return _parsed(found)
        return Backups(problem="no backup program is here: dsdeploy up SITE --only backup")


def _parsed(found: dict[str, Any]) -> Backups:
    if "what" in found:
        return Backups(problem=str(found["what"])[:TEXT])
    raw = found.get("snapshots")
    unknown, rehearsed = found.get("unknown"), found.get("rehearsed")
    return Backups(
        tuple(_snapshot(one) for one in (raw if isinstance(raw, list) else []) if isinstance(one, dict)),
        str(found.get("newest") or "")[:64],
        len(unknown) if isinstance(unknown, list) else 0,
        str(found.get("problem") or "")[:TEXT],
        rehearsed if isinstance(rehearsed, dict) else {},
    )


def _snapshot(one: dict[str, Any]) -> Snapshot:
    text = {key: str(one.get(key) or "")[:TEXT] for key in ("snapshot", "kind", "at", "state", "offsite")}
    numbers = {key: value if isinstance(value := one.get(key), int) else 0 for key in ("sequence", "bytes")}
    return Snapshot(
        numbers["sequence"],
        text["snapshot"],
        text["kind"],
        text["at"],
        text["state"],
        text["offsite"],
        numbers["bytes"],
    )

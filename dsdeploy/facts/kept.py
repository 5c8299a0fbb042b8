"""When a host was last backed up, read back and rotated: what its timers left for node_exporter, and no secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact, number

if TYPE_CHECKING:
    from dsdeploy.site import Site

METRICS = "/var/lib/prometheus/node-exporter"
_LINE = re.compile(r"dsdeploy_(backup|verify|logs)_([a-z_]{1,60}) ([0-9]{1,15})(?:\.[0-9]{1,15})?", re.ASCII)


@dataclass(frozen=True)
class Kept:
    """Ages in seconds by the host's own clock, None where it never happened. `backup` is the newest good snapshot's,
    `read` of the last look at a seventh of weights and builds, `rehearsed` of a restore, `logs` of a rotation;
    `part_ok` and `offsite_part_ok` are of the part of a repository that was last read back. What
    ends in `_ok` says how the last try of it went. `offsite_missing` counts good snapshots that are here only."""

    backup: int | None = None
    backup_ok: bool | None = None
    offsite_missing: int = 0
    checked: int | None = None
    checked_ok: bool | None = None
    part_ok: bool | None = None
    offsite_part_ok: bool | None = None
    rehearsed: int | None = None
    rehearsed_ok: bool | None = None
    read: int | None = None
    read_ok: bool | None = None
    bad_files: int = 0
    logs: int | None = None
    logs_ok: bool | None = None


class KeptFact(Fact[Kept]):
    value = Kept

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if site.backup or site.logs else None

    def command(self) -> str:
        files = " ".join(f"{METRICS}/dsdeploy_{name}.prom" for name in ("backup", "verify", "logs"))
        return f"date +%s; cat {files} 2>/dev/null | grep -v '^#' | head -c 32768"

    def process(self, output: list[str]) -> Kept:
        now = number(output[0]) if output else None
        said = {
            f"{found[1]}_{found[2]}": int(found[3])
            for line in output[1:]
            if (found := _LINE.fullmatch(line.strip()[:200]))
        }

        def age(name: str) -> int | None:
            at = said.get(f"{name}_timestamp_seconds")
            return max(0, now - at) if now is not None and at is not None else None

        def good(name: str) -> bool | None:
            return bool(said[name]) if name in said else None

        return Kept(
            backup=age("backup_last_success"),
            backup_ok=good("backup_last_run_success"),
            offsite_missing=said.get("backup_offsite_missing", 0),
            checked=age("backup_last_verify"),
            checked_ok=good("backup_last_verify_success"),
            part_ok=good("backup_last_check_success"),
            offsite_part_ok=good("backup_last_offsite_check_success"),
            rehearsed=age("backup_last_rehearsal"),
            rehearsed_ok=good("backup_last_rehearsal_success"),
            read=age("verify_last_run"),
            read_ok=good("verify_last_run_success"),
            bad_files=said.get("verify_bad_files", 0),
            logs=age("logs_last_run"),
            logs_ok=good("logs_last_run_success"),
        )

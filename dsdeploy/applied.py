"""Which settings `up` brought to each host, and whether the site file or dsdeploy asks for others by now.

`up` ends with a digest of each role's variables and files in the hosts' journals, and the next plan compares
them: so it names what it does not look for on a host (a rate limit, a retention, a newer dsdeploy's template).
What only the release is made of is not in it: that has an id of its own. Neither is the content of files that a
site file names; and where the site file lies on this computer does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dsdeploy import inventory, paths
from dsdeploy.decisions import Decisions, Order
from dsdeploy.facts import Runs
from dsdeploy.hosts import Reading
from dsdeploy.site import Role, Site

STAGES: Mapping[str, tuple[str, Role | None]] = {  # role -> the stage that brings it, and to which hosts; None: all
    "host": ("prep", None), "firewall": ("prep", None), "fabric": ("fabric", "engine"),
    "zookeeper": ("ensemble", "zookeeper"), "router": ("router", "router"), "health": ("health", "engine"),
    "backup": ("backup", None), "logrotate": ("backup", None), "monitor": ("monitor", None),
}  # fmt: skip
DIGITS = 12


def digests(site: Site) -> dict[str, str]:
    """Role -> hex digits that are others as soon as `up` would bring another setting or file of it."""
    every = inventory.values(site, Decisions(), Order())
    beside = {
        "fabric": site.fabric, "health": site.health, "backup": site.backup, "logrotate": site.logs,
        "monitor": site.monitor,
    }  # fmt: skip
    return {
        role: _digest(every, role, site.file.resolve().parent)
        for role in STAGES
        if role not in beside or beside[role] is not None
    }


def record(site: Site, only: str | None) -> dict[str, str]:
    """What the end of an `up` says that it brought: everything, or what is of its one stage."""
    return {role: found for role, found in digests(site).items() if only in (None, STAGES[role][0])}


def changed(site: Site, host: str, reading: Reading, wanted: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Stages whose settings this host may not have, and why. Nothing about a host that no `up` was on."""
    known, doubt = _known(reading)
    told: set[str] = set()
    for role, digest in wanted.items():
        stage, to = STAGES[role]
        had = known.get(role)
        if stage in told or (had and had[0] == digest) or not (to is None or to in site.hosts[host].roles):
            continue
        if had:
            told.add(stage)
            yield stage, f"the site file or dsdeploy has changed since the up of {had[1]}"
        elif doubt:
            told.add(stage)
            yield stage, f"the up of {doubt} did not tell what it brought"


def _known(reading: Reading) -> tuple[dict[str, tuple[str, str]], str]:
    """Role -> digest and time of the `up` that brought it; and the time of the newest that brought nobody knows what:
    it did not come to its end, or is of an older dsdeploy. What was before that counts no more."""
    known: dict[str, tuple[str, str]] = {}
    for run in reversed(reading.get(Runs) or ()):
        if run.begin.get("verb") != "up":
            continue
        at = str(run.begin.get("at", ""))[:16].replace("T", " ")
        brought = run.last.get("applied")
        if not isinstance(brought, dict):
            return known, at
        for role, digest in brought.items():
            known.setdefault(role, (digest, at))
    return known, ""


def _digest(every: Mapping[str, Any], role: str, folder: Path) -> str:
    def own(variables: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in variables.items() if name.startswith(f"{role}_")}

    variables = {
        "all": own(every["all"]),
        "groups": {name: own(group["vars"]) for name, group in every["groups"].items()},
        "hosts": {name: own(values) for name, values in every["hosts"].items()},
    }
    content = json.dumps(variables, sort_keys=True, default=str).replace(str(folder), "")
    return hashlib.sha256((content + _files(role)).encode()).hexdigest()[:DIGITS]


@cache
def _files(role: str) -> str:
    """Digest of the role as this dsdeploy has it."""
    root, found = paths.ROLES / role, hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()

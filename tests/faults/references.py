"""What a run that nobody disturbs leaves, for each version: measured once, kept beside the site file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .lab import HEAPS, Broken, Lab, say
from .snapshot import Snapshot, take

VERSIONS = ("v1", "v2")


@dataclass
class References:
    """`known` is "<version> <heap>" -> {"release", "snapshot"}."""

    lab: Lab
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.lab.file.parent / "references.json"

    def first(self) -> bool:
        """Both versions once around, so that both are on the disks; then what each direction leaves.

        Returns whether they were measured now: then the site is whole.
        """
        if self.path.exists():
            self.known = json.loads(self.path.read_text())
            return False
        if not self._served_both():
            for version in VERSIONS:
                self.move(version, "up")
        serving = str(self.lab.status().get("release")).partition("-")[0]
        order = VERSIONS if serving == VERSIONS[1] else VERSIONS[::-1]
        for version, verb in zip(order, ("upgrade", "up"), strict=True):
            self.move(version, verb)
            self._keep(version, HEAPS[0])
        return True

    def _served_both(self) -> bool:
        """Whether both versions are on the disks, as after an upgrade; and the site is well."""
        if not self.lab.status().get("healthy"):
            return False
        listed = self.lab.ssh(self.lab.site.with_role("engine")[0], "ls /srv/dsdeploy /srv/dsdeploy/releases")
        return {"blue", "green"} <= set(listed.split()) and all(f"\n{version}-" in listed for version in VERSIONS)

    def move(self, version: str, verb: str, heap: str = HEAPS[0]) -> None:
        say(f"undisturbed {verb} to {version}")
        self.lab.refuse_switches(False)
        self.lab.write(version, heap=heap)
        self.lab.must(verb, str(self.lab.file), "--yes")

    def snapshot(self, version: str, heap: str = HEAPS[0]) -> Snapshot:
        """Of the site with this version and heap. One with another heap than the first is measured at first use."""
        if f"{version} {heap}" not in self.known:
            self.move(version, "up", heap)
            self._keep(version, heap)
            self.move(version, "up")
        found: Snapshot = self.known[f"{version} {heap}"]["snapshot"]
        return found

    def release(self, version: str) -> str:
        return str(self.known[f"{version} {HEAPS[0]}"]["release"])

    def _keep(self, version: str, heap: str) -> None:
        status = self.lab.status()
        if not status.get("healthy"):
            raise Broken(f"the site is not healthy after an undisturbed run: {status.get('verdict')}")
        self.known[f"{version} {heap}"] = {"release": status["release"], "snapshot": take(self.lab.site)}
        self.path.write_text(json.dumps(self.known))

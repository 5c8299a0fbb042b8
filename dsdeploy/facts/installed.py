"""Which of what a site file may ask for beside serving is set up on a host: its units are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsdeploy.facts.fact import Fact

if TYPE_CHECKING:
    from dsdeploy.site import Site

UNITS = {
    "health": "dsdeploy-health.timer",
    "backup": "dsdeploy-backup.timer",
    "logs": "dsdeploy-logs.timer",
    "exporter": "dsdeploy-metrics.timer",
    "prometheus": "prometheus.service.d/dsdeploy.conf",
}


class Installed(tuple[str, ...]):
    """Names of UNITS."""


class InstalledFact(Fact[Installed]):
    value = Installed

    def arguments(self, site: Site, host: str) -> dict[str, Any] | None:
        return {} if site.health or site.backup or site.logs or site.monitor else None

    def command(self) -> str:
        return "\n".join(f"[ -e /etc/systemd/system/{unit} ] && echo {name}" for name, unit in UNITS.items()) + "\n:"

    def process(self, output: list[str]) -> Installed:
        return Installed(name for name in UNITS if name in output)

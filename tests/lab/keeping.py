"""What the drills of backups and of logs share: which units there are, and how hosts are left without them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from .conftest import ROOT, Lab

HOSTS = ("gw1", "gw2", "gpu1", "gpu2")
MEMBERS = ("gw1", "gpu1", "gpu2")
UNITS = (
    "dsdeploy-backup.timer", "dsdeploy-rehearse.timer", "dsdeploy-verify.timer", "dsdeploy-logs.timer",
    "dsdeploy-logs.path", "dsdeploy-logs-watch.service",
)  # fmt: skip
METRICS = "/var/lib/prometheus/node-exporter/dsdeploy_"  # what stays there grows old, and that is an alert
KEPT = (
    "/var/lib/dsdeploy/backup", "/var/backups/dsdeploy", "/root/drill",
    *(f"{METRICS}{name}.prom" for name in ("backup", "verify", "logs", "logs_watch")),
)  # fmt: skip


def on_all(lab: Lab, command: str, names: tuple[str, ...] = HOSTS) -> dict[str, str]:
    return {name: lab.tell(name, command) for name in names}


def leave(lab: Lab, before: str) -> None:
    """The site file of before but for the version, which is what serves; nothing on the hosts wakes up or was kept."""
    lab.site.write_text(before)
    on_all(lab, f"systemctl disable --now {' '.join(UNITS)} 2>/dev/null; rm -rf {' '.join(KEPT)}")
    lab.want(lab.serving().partition("-")[0])


def kept(lab: Lab) -> dict[str, dict[str, Any]]:
    """Ages and outcomes of what every host keeps, by `status`."""
    return {name: host["kept"] for name, host in lab.status()["hosts"].items()}


def command(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """`dsdeploy …` that goes on while the test does something to it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "dsdeploy", *words], cwd=ROOT, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

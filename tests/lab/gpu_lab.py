"""A lab whose machines have GPUs, driven by a dsdeploy that trusts the key of its packages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from ..roles.health.conftest import gpus
from . import gpu_machine, gpu_world
from .conftest import Lab

METRICS = "cat /var/lib/prometheus/node-exporter/dsdeploy_gpu.prom"


@dataclass
class Gpus(Lab):
    """The lab, and the copy of dsdeploy in `product`. `counts`: GPUs of each host."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def run(self, *words: str, code: int | None = 0, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "dsdeploy", *words]
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout, cwd=self.folder / "product", check=False
        )
        shown = f"$ dsdeploy {' '.join(words)}\nexit {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        assert "Traceback" not in done.stderr and (code is None or done.returncode == code), shown
        return done

    def stage(self, only: str) -> dict[str, Any]:
        """One stage of `up`; what it changed."""
        done: dict[str, Any] = json.loads(self.run("up", str(self.site), "--yes", "--json", "--only", only).stdout)
        return done

    def answer(self, host: str, more: str = "", log: str = "", count: int | None = None) -> None:
        """What the driver of a host says from now on of its GPUs, or of so many, and its kernel's log."""
        said = gpus(self.counts[host] if count is None else count, more)
        self.tell(host, f"cat > {gpu_world.ANSWERS} <<'END'\n{said}END\ncat > /srv/gpu/kernel.log <<'END'\n{log}END")

    def look(self, host: str) -> tuple[dict[str, Any], dict[str, float]]:
        """What the health timer's unit wrote: its state, and the metrics by their whole name."""
        self.tell(host, "systemctl start dsdeploy-health.service")
        state: dict[str, Any] = json.loads(self.tell(host, "cat /var/lib/dsdeploy/health/state.json"))
        lines = [line for line in self.tell(host, METRICS).splitlines() if not line.startswith("#")]
        return state, {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def check(self, code: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("check", str(self.site), "--json", code=code).stdout)
        return found

    def watched(self, code: int = 1) -> dict[str, list[str]]:
        """GPU host -> what `status`, which ends with this code, says of its GPUs."""
        hosts = self.status(code)["hosts"]
        return {name: [one for one in hosts[name]["watched"] if one.startswith("gpu:")] for name in self.counts}

    def loaded(self, host: str) -> str:
        """The driver in memory."""
        return self.tell(host, "cat /sys/module/nvidia/version").strip()

    def boots(self) -> dict[str, str]:
        """GPU host -> the id of its boot."""
        return {host: self.tell(host, f"cat {gpu_machine.BOOT}").strip() for host in self.counts}

    def mains(self) -> AbstractContextManager[gpu_machine.Mains]:
        """While it lasts a GPU host that restarts comes back."""
        return gpu_machine.mains([self.machine(host) for host in self.counts])

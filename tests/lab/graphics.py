"""GPUs that nobody here has, on a host of the shared lab: our NVML and kernel's log below the real health timer.

What the driver says stands in a file; the timer's GPU report reads it, and its metrics are what alerts are made of.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

from ..roles.health.conftest import gpus
from . import gpu_machine, gpu_world
from .conftest import Lab

LIBRARY = f"/{gpu_world.DEBIAN}/libnvidia-ml.so.1"
# a line, because the ring buffer is read where the journal has none
BOOTED = "[    0.000000] Linux version 6.1.0\n"
SHOWN = f"""
mountpoint -q /sys/bus/pci/devices || mount --bind /srv/gpu/bus /sys/bus/pci/devices
cat > /usr/local/bin/journalctl <<'END'
{gpu_machine.JOURNAL}END
chmod 755 /usr/local/bin/journalctl
"""
TAKE_OUT = f"""
systemctl disable --now dsdeploy-health.timer
umount /sys/bus/pci/devices
rm -rf /srv/gpu {LIBRARY} /usr/local/bin/journalctl /var/lib/dsdeploy/health
rm -f /var/lib/prometheus/node-exporter/dsdeploy_gpu.prom /var/lib/prometheus/node-exporter/dsdeploy_health.prom
"""


@dataclass
class Graphics:
    """So many H200 of one host, busy from the beginning."""

    lab: Lab
    host: str
    count: int
    answers: dict[str, str] = field(default_factory=lambda: {"gpu*.utilisation.gpu": "90"})
    log: str = BOOTED

    def put_in(self, library: Path) -> None:
        """A driver that answers, then onto the bus: GPUs that none answers for would be a fault of their own."""
        self.lab.tell(self.host, "mkdir -p /srv/gpu")
        self._write()
        packed = base64.b64encode(library.read_bytes()).decode()
        self.lab.tell(self.host, f"echo {packed} | base64 -d > {LIBRARY}.new && mv {LIBRARY}.new {LIBRARY}")
        self.lab.tell(self.host, f"{gpu_machine.bus(self.count)}\n{SHOWN}")

    def take_out(self) -> None:
        self.lab.tell(self.host, TAKE_OUT, check=False)

    def say(self, changes: dict[str, str | None]) -> None:
        """What the driver answers from now on, by its question; None is what a healthy H200 answers."""
        said = self.answers | changes
        self.answers = {question: answer for question, answer in said.items() if answer is not None}
        self._write()

    def xid(self, code: int, text: str) -> None:
        """A line of the driver's in the kernel's log, about the first GPU, now."""
        now = float(self.lab.tell(self.host, "cut -d' ' -f1 /proc/uptime"))
        self.log += f"[{now:12.6f}] NVRM: Xid (PCI:0000:17:00): {code}, {text}\n"
        self._write()

    def mended(self) -> None:
        """The log has nothing of it any more, as after a reboot; what was counted stays counted."""
        self.log = BOOTED
        self._write()

    def _write(self) -> None:
        said = gpus(self.count, "".join(f"{question} = {answer}\n" for question, answer in self.answers.items()))
        files = {gpu_world.ANSWERS: said, "/srv/gpu/kernel.log": self.log}
        for path, text in files.items():
            self.lab.tell(self.host, f"cat > {path}.new <<'END'\n{text}END\nmv {path}.new {path}")

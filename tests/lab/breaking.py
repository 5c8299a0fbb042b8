"""Faults that monitoring has to tell: how each is made on a machine, how it is mended, which alert it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import time

from .conftest import Lab

Do = Callable[[], object]
TEXTFILES = "/var/lib/prometheus/node-exporter"


@dataclass(frozen=True)
class Fault:
    """`labels` are those the alert has to carry beside its name and the site's."""

    what: str
    alert: str
    severity: str
    labels: dict[str, str]
    make: Do
    mend: Do


@dataclass
class Measured:
    """A file of measurements on a host, as health timer and backups write theirs: for GPUs nobody here has."""

    lab: Lab
    host: str
    series: dict[str, float] = field(default_factory=dict)

    def say(self, **changes: float | None) -> None:
        """Change samples, None takes one away, and write the file whole."""
        named = {NAMES[key]: value for key, value in changes.items()}
        kept = {**self.series, **named}
        self.series = {name: value for name, value in kept.items() if value is not None}
        lines = "".join(f"{name} {value:.17g}\n" for name, value in self.series.items())
        path = f"{TEXTFILES}/lab_faults.prom"
        self.lab.tell(self.host, f"cat > {path}.new <<'END'\n{lines}END\nmv {path}.new {path}")

    def forget(self) -> None:
        self.lab.tell(self.host, f"rm -f {TEXTFILES}/lab_faults.prom")


NAMES = {
    "xid": 'dsdeploy_gpu_xid_errors_total{class="reboot"}',
    "ecc": 'dsdeploy_gpu_ecc_errors_total{gpu="0",kind="uncorrected",since="volatile"}',
    "hot": 'dsdeploy_gpu_throttled{gpu="0",reason="software thermal"}',
    "gpu0": 'dsdeploy_gpu_utilisation_ratio{gpu="0",of="compute"}',
    "gpu1": 'dsdeploy_gpu_utilisation_ratio{gpu="1",of="compute"}',
    "backup": "dsdeploy_backup_last_success_timestamp_seconds",
}


def phases(lab: Lab, colours: dict[str, str], gpu1: Measured, gpu2: Measured, gw2: Measured) -> list[list[Fault]]:
    """Faults that do not cover each other stand in one phase and are made at once."""

    def on(host: str, command: str, check: bool = True) -> Do:
        return lambda: lab.tell(host, command, check=check)

    one, two = (f"dsdeploy-engine@{colours[host]}" for host in ("gpu1", "gpu2"))
    slow = (
        f"pid=$(systemctl show -p MainPID --value {one}); systemd-run --quiet --unit lab-slow bash -c "
        f"'while kill -STOP '$pid'; do sleep 1; kill -CONT '$pid'; sleep 0.01; done'"
    )
    certificate = "/etc/dsdeploy/tls/lab.pem"
    made = (
        "mkdir -p /etc/dsdeploy/tls && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
        f"-subj /CN=lab -keyout /dev/null -out {certificate} 2>/dev/null"
    )
    run = "/var/lib/dsdeploy/runs/lab-stuck.jsonl"
    begun = """{"kind": "begin", "at": "2020-01-01T00:00:00+00:00"}"""
    exporter = "prometheus-node-exporter"
    full = (  # the lab's machines keep mounts to themselves: the exporter sees a new one when it begins anew
        "truncate -s 24M /var/tmp/lab.img && mkfs.ext4 -q -F /var/tmp/lab.img && mkdir -p /mnt/lab && "
        f"mount -o loop /var/tmp/lab.img /mnt/lab && systemctl restart {exporter} && "
        "(dd if=/dev/zero of=/mnt/lab/x bs=64k 2>/dev/null; true)"
    )
    engines = [
        Fault("engine killed, cannot come back", "EngineDown", "critical", {"host": "gpu2"},
              on("gpu2", f"systemctl mask --runtime {two}; systemctl kill -s KILL {two}"),
              on("gpu2", f"systemctl unmask --runtime {two}; systemctl reset-failed {two}; systemctl start {two}")),
        Fault("engine hung (SIGSTOP)", "EngineHung", "critical", {"host": "gpu1"},
              on("gpu1", f"systemctl kill -s STOP {one}"), on("gpu1", f"systemctl kill -s CONT {one}")),
        Fault("… so requests fail", "ErrorBudgetBurnFast", "critical", {}, nothing, nothing),
        Fault("… and no engine is left", "NoEngineInRotation", "critical", {"host": "gw1"}, nothing, nothing),
    ]  # fmt: skip
    quiet = [
        Fault("XID 79", "GpuXidReboot", "critical", {"host": "gpu1", "class": "reboot"},
              lambda: gpu1.say(xid=1), nothing),
        Fault("uncorrectable memory error", "GpuEccErrors", "critical", {"host": "gpu1", "gpu": "0"},
              lambda: gpu1.say(ecc=1), nothing),
        Fault("GPU throttled by heat", "GpuThrottled", "warning", {"host": "gpu1", "gpu": "0"},
              lambda: gpu1.say(hot=1), lambda: gpu1.say(hot=0)),
        Fault("GPU gone", "GpuMissing", "critical", {"host": "gpu1"},
              lambda: gpu1.say(gpu1=None), lambda: gpu1.say(gpu1=0.9)),
        Fault("backup stale", "BackupOld", "warning", {"host": "gw2"},
              lambda: gw2.say(backup=time() - 86400), lambda: gw2.say(backup=time() + 3600)),
        Fault("certificate ends", "CertificateExpires", "warning", {"host": "gw2", "path": certificate},
              on("gw2", made), on("gw2", f"rm -f {certificate}")),
        Fault("run begun and not ended", "UpgradeStuck", "warning", {"host": "gw2", "run": "lab-stuck"},
              on("gw2", f"mkdir -p /var/lib/dsdeploy/runs && echo '{begun}' > {run}"), on("gw2", f"rm -f {run}")),
        Fault("disk full", "DiskFull", "critical", {"host": "gw2", "mountpoint": "/mnt/lab"},
              on("gw2", full), on("gw2", f"umount /mnt/lab; rm -f /var/tmp/lab.img; systemctl restart {exporter}")),
    ]  # fmt: skip
    second = [
        Fault("one member stopped", "MemberDown", "warning", {"host": "gpu2"},
              on("gpu2", "systemctl stop zookeeper"), on("gpu2", "systemctl start zookeeper")),
        Fault("… so one more would be too many", "QuorumAtMargin", "warning", {}, nothing, nothing),
        Fault("router stopped", "RouterDown", "critical", {"host": "gw1"},
              on("gw1", "systemctl stop haproxy"), on("gw1", "systemctl start haproxy")),
        Fault("… so the other takes the address", "RouterFailedOver", "warning", {"host": "gw2"}, nothing, nothing),
        Fault("engine slow (stopped 1 s of 1.01)", "ScaleOut", "warning", {"host": "gpu1"},
              on("gpu1", slow), on("gpu1", f"systemctl stop lab-slow; systemctl kill -s CONT {one}", check=False)),
    ]  # fmt: skip
    third = [
        Fault("two members stopped", "QuorumLost", "critical", {},
              both(lab, "stop"), both(lab, "start")),
        Fault("exporter stopped", "HostNoData", "critical", {"host": "gw2"},
              on("gw2", f"systemctl stop {exporter}"), on("gw2", f"systemctl start {exporter}")),
        Fault("GPUs idle", "ScaleIn", "info", {"host": "gpu2"},
              lambda: gpu2.say(gpu0=0.05), lambda: gpu2.say(gpu0=0.9)),
    ]  # fmt: skip
    return [engines + quiet, second, third]


def both(lab: Lab, verb: str) -> Do:
    """ZooKeeper of two of three members."""

    def do() -> None:
        for host in ("gpu1", "gpu2"):
            lab.tell(host, f"systemctl {verb} zookeeper")

    return do


def nothing() -> None:
    """What another fault of the phase brings about by itself."""

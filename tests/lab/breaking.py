"""Faults that monitoring has to tell: how each is made on a machine, how it is mended, which alert it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .conftest import NETWORK, Lab
from .graphics import Graphics

Do = Callable[[], object]
BACKED_UP = "/var/lib/prometheus/node-exporter/lab_backup.prom"  # as backups write theirs: nobody waits a day here


@dataclass(frozen=True)
class Fault:
    """`labels` are those the alert has to carry beside its name and the site's."""

    what: str
    alert: str
    severity: str
    labels: dict[str, str]
    make: Do
    mend: Do


def holder(lab: Lab) -> str:
    """The router that has the shared address: whichever was there first."""
    return next(router for router in ("gw1", "gw2") if f"{NETWORK}100/" in lab.tell(router, "ip -4 -o addr"))


def phases(lab: Lab, colours: dict[str, str], holds: str, gpu1: Graphics, gpu2: Graphics) -> list[list[Fault]]:
    """Faults that do not cover each other stand in one phase and are made at once."""
    other = "gw1" if holds == "gw2" else "gw2"

    def answers(host: Graphics, question: str, answer: str | None) -> Do:
        return lambda: host.say({question: answer})

    def on(host: str, command: str, check: bool = True) -> Do:
        return lambda: lab.tell(host, command, check=check)

    def backed_up(host: str, seconds: int) -> Do:
        """The last good backup was made so many seconds from now."""
        sample = f"dsdeploy_backup_last_success_timestamp_seconds $(($(date +%s) + {seconds}))"
        return on(host, f'echo "{sample}" > {BACKED_UP}.new && mv {BACKED_UP}.new {BACKED_UP}')

    ecc = "gpu0.ecc.volatile.uncorrected"
    one, two = (f"dsdeploy-engine@{colours[host]}" for host in ("gpu1", "gpu2"))
    slow = (
        f"pid=$(systemctl show -p MainPID --value {one}); systemd-run --quiet --unit lab-slow bash -c "
        f"'while kill -STOP '$pid'; do sleep 0.25; kill -CONT '$pid'; sleep 0.02; done'"  # its answers end
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
              lambda: gpu1.xid(79, "pid=4711, name=python, GPU has fallen off the bus."), gpu1.mended),
        Fault("uncorrectable memory error", "GpuEccErrors", "critical", {"host": "gpu1", "gpu": "0"},
              answers(gpu1, ecc, "1"), answers(gpu1, ecc, None)),
        Fault("GPU throttled by heat", "GpuThrottled", "warning", {"host": "gpu1", "gpu": "0"},
              answers(gpu1, "gpu0.throttle", "0x20"), answers(gpu1, "gpu0.throttle", None)),
        Fault("GPU gone", "GpuMissing", "critical", {"host": "gpu1"},
              answers(gpu1, "gpu1.*", "error:15"), answers(gpu1, "gpu1.*", None)),
        Fault("backup stale", "BackupOld", "warning", {"host": "gw2"},
              backed_up("gw2", -86400), backed_up("gw2", 3600)),
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
        Fault("router stopped", "RouterDown", "critical", {"host": holds},
              on(holds, "systemctl stop haproxy"), on(holds, "systemctl start haproxy")),
        Fault("… so the other takes the address", "RouterFailedOver", "warning", {"host": other}, nothing, nothing),
        Fault("engine slow (stopped 0.25 s of 0.27)", "ScaleOut", "warning", {"host": "gpu1"},
              on("gpu1", slow), on("gpu1", f"systemctl stop lab-slow; systemctl kill -s CONT {one}", check=False)),
    ]  # fmt: skip
    third = [
        Fault("two members stopped", "QuorumLost", "critical", {},
              both(lab, "stop"), both(lab, "start")),
        Fault("exporter stopped", "HostNoData", "critical", {"host": "gw2"},
              on("gw2", f"systemctl stop {exporter}"), on("gw2", f"systemctl start {exporter}")),
        Fault("GPUs idle", "ScaleIn", "info", {"host": "gpu2"},
              answers(gpu2, "gpu*.utilisation.gpu", "5"), answers(gpu2, "gpu*.utilisation.gpu", "90")),
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

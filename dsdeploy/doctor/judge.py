"""Faults that readings show: what hosts say of themselves now. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dsdeploy import quorum
from dsdeploy.doctor import catalogue
from dsdeploy.doctor.catalogue import Finding
from dsdeploy.doctor.evidence import Evidence, HostEvidence
from dsdeploy.facts.zookeeper import Srvr

CLOCK_SECONDS = 30.0
LOW = 256 * 2**20
INODES = 5000
Detector = Callable[[Evidence, str, HostEvidence], Iterator[Finding]]


def findings(given: Evidence) -> list[Finding]:
    """Everything that is known to be wrong, the cause of most first; the same on a host is told once."""
    found = [*_quorum(given), *catalogue.findings(given)]
    for name, host in given.hosts.items():
        for detect in DETECTORS:
            found += detect(given, name, host)
    ordered = sorted(found, key=lambda finding: finding.rank)
    return list({(f.entry, f.host, f.symptom): f for f in reversed(ordered)}.values())[::-1]


def _quorum(given: Evidence) -> Iterator[Finding]:
    answers = {
        name: Srvr(bool(said.get("answered")), said.get("mode", ""), error=said.get("error", ""))
        for name in given.members
        if (said := given.hosts[name].fact("Srvr"))
    }
    now = quorum.verdict(given.members, answers)
    if now.ok:
        return
    down = [name for name in now.voters if name not in now.serving]
    start = "; ".join(given.hosts[name].on("systemctl start zookeeper") for name in down)
    yield Finding(
        "quorum",
        "",
        f"no quorum: {now.why}",
        f"{len(now.serving)} of {len(now.voters)} members serve, {now.majority} are needed; "
        f"down: {', '.join(down) or 'none'}",
        f"{start or 'dsdeploy status SITE'}; then: dsdeploy up SITE --only ensemble",
        1,
    )


def _login(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    if host.reachable:
        return
    if "host key" in host.error:
        yield Finding(
            "host-key",
            name,
            f"{name}: {host.error}",
            "it was reinstalled, or somebody is in between",
            "compare at its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; "
            f"then: {given.forget(host.address)}",
            0,
        )
        return
    yield Finding(
        "login",
        name,
        f"{name}: {host.error}",
        "the host is down, or SSH to it does not work",
        host.on("true"),
        0,
    )


def _clock(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    clock = host.fact("Clock")
    offset = clock.get("offset_s")
    if offset is not None and abs(offset) > CLOCK_SECONDS + (clock.get("uncertainty_s") or 0):
        side = "ahead of" if offset > 0 else "behind"
        yield Finding(
            "clock",
            name,
            f"the clock of {name} is {abs(offset):.0f} s {side} this computer's",
            "certificates, package signatures and the order of logs break by that",
            f"{host.on('timedatectl set-ntp true')}; then: dsdeploy check SITE",
            2,
        )


def _disk(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    for path, disk in host.fact("Disks").items():
        inodes = disk.get("free_inodes")
        short = disk["free"] < LOW
        if short or (inodes is not None and inodes < INODES):
            left = f"{disk['free'] >> 20} MiB" if short else f"{inodes} inodes"
            yield Finding(
                "disk",
                name,
                f"{disk['mount']} of {name} has {left} left (for {path})",
                "logs, ZooKeeper and pulls stop when it is full",
                f"{host.on('df -h')}; {host.on('df -i')}; {host.on('du -xh -d 2 ' + disk['mount'])} | sort -h | tail",
                1,
            )


def _ports(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    wanted = {"router": ("haproxy", "router"), "zookeeper": ("java", "zookeeper")}
    for role, (ours, key) in wanted.items():
        for port in host.fact("Ports") or []:
            mine = port["process"] in (ours, "")
            if role in host.roles and port["port"] == given.ports[key] and not mine:
                yield Finding(
                    "port",
                    name,
                    f"port {port['port']} of {name} is taken by {port['process']} (pid {port['pid']})",
                    f"the {role} cannot start while it listens there",
                    f"stop pid {port['pid']} on {name}, or choose another port; then: dsdeploy up SITE",
                    3,
                )


def _driver(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    loaded = host.fact("DriverModule").get("loaded", "")
    for gpu in (host.fact("Gpus") or [])[:1]:
        if loaded and gpu["driver"] != loaded:
            yield Finding(
                "driver",
                name,
                f"{name}: module {loaded} is in memory, {gpu['driver']} is installed",
                "packages were updated under a loaded driver",
                f"drain {name} and reboot it; then: dsdeploy check SITE",
                1,
            )


def _lock(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    lock = host.fact("PackageLock")
    if lock.get("held"):
        yield Finding(
            "package-lock",
            name,
            f"the package manager of {name} is in use by {lock['holder']} (pid {lock['pid']})",
            "an unattended upgrade, most often; it ends by itself",
            f"wait until pid {lock['pid']} on {name} has ended; then: dsdeploy up SITE",
            6,
        )


def _certificates(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    for line in host.log.get("certificates", ()):
        ends, _, path = line.partition(" ")
        if ends.isdecimal() and int(ends) < given.at:
            yield Finding(
                "certificate",
                name,
                f"{path} of {name} ended {(given.at - int(ends)) / 86400:.1f} days ago",
                "everything that checks it refuses to speak to this host",
                f"put a new one at {path} on {name}; then: dsdeploy up SITE",
                2,
            )


def _engine(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    """Slow is not dead: a process that loads is left alone, one that systemd starts again and again is not."""
    states = host.fact("Engines") or host.fact("AnsweringEngines")
    for colour, state in states.items():
        where = f"the {colour} engine of {name}"
        again = "auto-restart" in state["detail"] or state["unit"] == "failed"
        look = host.on(f"journalctl -u dsdeploy-engine@{colour} -n 50")
        if again:
            yield Finding(
                "start-dead",
                name,
                f"{where} does not start: {state['detail']}, {state['restarts']} restarts",
                "it ends each time; its last lines say why",
                f"{look}; then: dsdeploy up SITE",
                4,
            )
        elif state["unit"] == "active" and state["health"] == "loading":
            yield Finding(
                "start-slow",
                name,
                f"{where} still loads",
                "reading weights takes minutes; its process lives and was not restarted",
                f"wait: dsdeploy status SITE; {look} shows it move",
                8,
            )
        elif state["unit"] == "active" and state["health"] == "down" and "activating" not in state["detail"]:
            yield Finding(
                "hung",
                name,
                f"{where} runs and answers nothing",
                "its process hangs",
                host.on(f"systemctl restart dsdeploy-engine@{colour}"),
                3,
            )


def _weights(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    for version, stamp in host.fact("Weights").items():
        if stamp.get("bad"):
            yield Finding(
                "md5",
                name,
                f"{version} of {name}: {', '.join(stamp['bad'][:3])} is not what was verified",
                "the disk changed it, or somebody did",
                f"dsdeploy up SITE --only weights --limit {name} pulls it again",
                3,
            )
        elif stamp.get("digest") and stamp.get("size") != stamp.get("bytes"):
            yield Finding(
                "truncated",
                name,
                f"{version} of {name} has {stamp['size']} bytes, verified were {stamp['bytes']}",
                "files were cut or removed since",
                f"dsdeploy up SITE --only weights --limit {name} pulls it again",
                3,
            )


DETECTORS: tuple[Detector, ...] = (
    _login,
    _clock,
    _disk,
    _ports,
    _driver,
    _lock,
    _certificates,
    _engine,
    _weights,
)

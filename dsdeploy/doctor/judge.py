"""Faults that readings show: what hosts say of themselves now. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import PurePath

from dsdeploy import quorum
from dsdeploy.doctor import logs
from dsdeploy.doctor.engines import engine, ports
from dsdeploy.doctor.evidence import Evidence, HostEvidence
from dsdeploy.doctor.finding import Finding
from dsdeploy.doctor.weights import weights
from dsdeploy.facts.zookeeper import Srvr
from dsdeploy.quorum import Quorum
from dsdeploy.stacks import versions

CLOCK_SECONDS = 30.0
LOW = 256 * 2**20
INODES = 5000
Detector = Callable[[Evidence, str, HostEvidence], Iterator[Finding]]


def findings(given: Evidence) -> list[Finding]:
    """Everything that is known to be wrong, the cause of most first; the same on a host is told once, and what a
    reading shows is not told again from a log."""
    found = [*_ensemble(given), *_own_clock(given)]
    for name, host in given.hosts.items():
        for detect in DETECTORS:
            found += detect(given, name, host)
    read = {(finding.entry, finding.host) for finding in found}
    found += [finding for finding in logs.findings(given) if (finding.entry, finding.host) not in read]
    ordered = sorted(found, key=lambda finding: finding.rank)
    return list({(f.entry, f.host, f.symptom): f for f in reversed(ordered)}.values())[::-1]


def _ensemble(given: Evidence) -> Iterator[Finding]:
    answers = {
        name: Srvr(bool(said.get("answered")), said.get("mode", ""), error=said.get("error", ""))
        for name in given.members
        if (said := given.hosts[name].fact("Srvr"))
    }
    now = quorum.verdict(given.members, answers)
    down = [name for name in now.voters if name not in now.serving]
    if now.ok:
        yield from (_member(now, name, given.hosts[name]) for name in down if given.hosts[name].reachable)
        return
    start = "; ".join(given.hosts[name].on("systemctl start zookeeper") for name in down)
    yield Finding(
        "quorum",
        "",
        f"no quorum: {now.why}",
        f"{len(now.serving)} of {len(now.voters)} members serve, {now.majority} are needed; "
        f"down: {', '.join(down) or 'none'}",
        f"{start or 'dsdeploy status SITE'}; dsdeploy up SITE --only ensemble",
        1,
    )


def _member(now: Quorum, name: str, host: HostEvidence) -> Finding:
    why = now.problems[name].removeprefix("ZooKeeper: ")
    margin = "the next one that goes takes the quorum" if len(now.serving) == now.majority else "the quorum holds"
    return Finding(
        "member",
        name,
        f"the ZooKeeper member of {name} does not serve: {why}",
        f"{len(now.serving)} of {len(now.voters)} members serve, {now.majority} are needed: {margin}; why it went is "
        f"in journalctl -u zookeeper on {name}",
        f"{host.on('systemctl reset-failed zookeeper')}; dsdeploy up SITE --only ensemble",
        2,
    )


def _login(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    if host.reachable:
        return
    if "host key" in host.error:
        yield Finding(
            "host-key",
            name,
            f"{name}: {host.error}",
            "it was reinstalled, or somebody is in between: go on only where this prints what its console says to "
            "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            given.forget(host.address),
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


def _offset(host: HostEvidence) -> float:
    """Seconds by which a host's clock is certainly wrong, 0 where it is not, or not known."""
    clock = host.fact("Clock")
    offset = clock.get("offset_s") or 0.0
    return float(offset) if abs(offset) > CLOCK_SECONDS + (clock.get("uncertainty_s") or 0) else 0.0


def _own(given: Evidence) -> float:
    """Seconds that every host is off alike: then it is this computer's clock that is wrong."""
    offsets = [_offset(host) for host in given.hosts.values() if host.fact("Clock")]
    alike = len(offsets) > 1 and all(offsets) and max(offsets) - min(offsets) < CLOCK_SECONDS
    return offsets[0] if alike else 0.0


def _own_clock(given: Evidence) -> Iterator[Finding]:
    if offset := _own(given):
        side = "behind" if offset > 0 else "ahead of"
        yield Finding(
            "clock",
            "",
            f"this computer's clock is {abs(offset):.0f} s {side} every host's",
            "they are not all wrong in the same way; certificates, locks and the order of logs break by that",
            "sudo timedatectl set-ntp true && dsdeploy check SITE",
            2,
        )


def _clock(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    offset = _offset(host)
    if offset and not _own(given):
        side = "ahead of" if offset > 0 else "behind"
        yield Finding(
            "clock",
            name,
            f"the clock of {name} is {abs(offset):.0f} s {side} this computer's",
            "certificates, package signatures and the order of logs break by that",
            f"{host.on('timedatectl set-ntp true')} && dsdeploy check SITE",
            2,
        )


def _disk(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    for path, disk in host.fact("Disks").items():
        inodes = disk.get("free_inodes")
        short = disk["free"] < LOW
        if short or (inodes is not None and inodes < INODES):
            left = f"{disk['free'] >> 20} MiB" if short else f"{inodes} inodes"
            most = f"du -xah -d 2 {disk['mount']}" if short else f"du --inodes -xa -d 2 {disk['mount']}"
            yield Finding(
                "disk",
                name,
                f"{disk['mount']} of {name} has {left} left (for {path})",
                "logs, ZooKeeper and pulls stop when it is full; remove what is not ours: the last lines are the most",
                f"{host.on('df -h' if short else 'df -i')}; {host.on(most)} | sort {'-h' if short else '-n'} | tail",
                1,
            )


def _driver(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    """A driver that differs from its library answers nobody: what is installed is then known by the library's name."""
    loaded = host.fact("DriverModule").get("loaded", "")
    told = (gpu["driver"] for gpu in host.fact("Gpus") or ())
    installed = host.fact("StackState").get("library") or next(told, "")
    if loaded and installed and not versions.same(loaded, installed):
        yield Finding(
            "driver",
            name,
            f"{name}: module {loaded} is in memory, {installed} is installed",
            "packages were updated under a loaded driver; the host has to be drained and restarted",
            given.restart(name),
            1,
        )


def _lock(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    lock = host.fact("PackageLock")
    if lock.get("held"):
        yield Finding(
            "package-lock",
            name,
            f"the package manager of {name} is in use by {lock['holder']} (pid {lock['pid']})",
            "an unattended upgrade, most often; it ends by itself, which this waits for",
            f"{host.on('tail -f /dev/null --pid=' + str(lock['pid']))} && dsdeploy up SITE",
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
                f"everything that checks it refuses to speak to this host; {PurePath(path).name} in this folder is to "
                "be the new one",
                f"{host.on(f'tee {_twice(path)}')} <{shlex.quote(PurePath(path).name)} >/dev/null && dsdeploy up SITE",
                2,
            )


def _model(given: Evidence, name: str, host: HostEvidence) -> Iterator[Finding]:
    asked = host.fact("UnknownModels")
    if asked:
        most = sorted(asked, key=lambda model: -asked[model])[:3]
        yield Finding(
            "model",
            name,
            f"{name} refused {sum(asked.values())} requests for models that are not served: {', '.join(most)}",
            f"the site serves {given.model}, and clients have to send that name; this is forgotten after five minutes",
            f"curl http://{given.router}/v1/models",
            6,
        )


def _twice(word: str) -> str:
    """Quoted for the shell here and for the one there."""
    return shlex.quote(shlex.quote(word))


DETECTORS: tuple[Detector, ...] = (
    _login,
    _clock,
    _disk,
    ports,
    _driver,
    _lock,
    _certificates,
    _model,
    engine,
    weights,
)

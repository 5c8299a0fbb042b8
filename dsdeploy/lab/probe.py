"""Can this computer run a lab? `look` reads, `refusal` decides."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dsdeploy.errors import LabError

_NETAVARK = (Path("/usr/lib/podman/netavark"), Path("/usr/libexec/podman/netavark"))
_RUNTIMES = ("runc", "crun")
_SETUP = "make setup, or: apt install podman runc conmon netavark aardvark-dns iptables mmdebstrap openssh-client"


@dataclass(frozen=True)
class Probe:
    """What the computer offers. Limits are hard limits, -1 where there is none.

    `realtime`: cgroups share out real-time priorities, so that a container has none unless it is given some.
    """

    engine: str
    root: bool
    programs: frozenset[str]
    namespaces: bool
    cgroup2: bool
    realtime: bool
    netavark: bool
    nofile: int
    nproc: int
    nr_open: int
    pid_max: int


def look(engine: str) -> Probe:
    """Read it all; nothing is changed."""
    wanted = (engine, *_RUNTIMES, "mmdebstrap", "ssh-keygen", "ip")
    return Probe(
        engine=engine,
        root=os.geteuid() == 0,
        programs=frozenset(name for name in wanted if shutil.which(name)),
        namespaces=_namespaces(),
        cgroup2=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        realtime=Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists(),
        netavark=any(path.exists() for path in _NETAVARK),
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        nproc=resource.getrlimit(resource.RLIMIT_NPROC)[1],
        nr_open=_number(Path("/proc/sys/fs/nr_open"), 1048576),
        pid_max=_number(Path("/proc/sys/kernel/pid_max"), 32768),
    )


def refusal(probe: Probe | None = None, *, builds: bool = True) -> LabError | None:
    """What stands in the way of a lab, or None. Without a probe: of podman, here and now.

    `builds`: an image of our own may have to be made.
    """
    probe = probe or look("podman")
    podman = probe.engine == "podman"
    if podman and not probe.root:
        return LabError(
            "the lab makes containers with their own network and systemd: it needs root",
            "this computer",
            "sudo .venv/bin/dsdeploy lab up",
        )
    if probe.engine not in probe.programs:
        return LabError(f"{probe.engine} is not installed", "this computer", _SETUP)
    if podman and not runtime(probe):
        wants = "runc or crun" if probe.cgroup2 else "runc (the only runtime for this kernel's cgroup layout)"
        return LabError(f"{wants} is not installed", "this computer", "apt install runc")
    missing = {"ssh-keygen": "openssh-client", "ip": "iproute2"}
    for program, package in missing.items():
        if program not in probe.programs:
            return LabError(f"{program} is not installed", "this computer", f"apt install {package}")
    if podman and not probe.namespaces:
        return LabError(
            "this computer does not let root make namespaces, so no container can start",
            "this computer",
            "run it on a machine or virtual machine of its own, or in a container started with --privileged",
        )
    if builds and "mmdebstrap" not in probe.programs:
        return LabError(
            "mmdebstrap is not installed, and no image was named",
            "this computer",
            "apt install mmdebstrap, or: dsdeploy lab up --image IMAGE",
        )
    return None


def runtime(probe: Probe) -> str:
    """The runtime podman shall use: only runc knows hybrid cgroups. "" where there is none."""
    usable = _RUNTIMES if probe.cgroup2 else _RUNTIMES[:1]
    return next((name for name in usable if name in probe.programs), "")


def limits(probe: Probe) -> dict[str, int]:
    """Limits for a container: asking for more than the kernel gives makes its start fail with EPERM."""
    return {"nofile": _least(probe.nofile, probe.nr_open), "nproc": _least(probe.nproc, probe.pid_max)}


def _least(hard: int, ceiling: int) -> int:
    return ceiling if hard < 0 else min(hard, ceiling)


def _namespaces() -> bool:
    argv = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "true"]
    try:
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return True  # cannot tell; the engine will


def _number(path: Path, otherwise: int) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return otherwise

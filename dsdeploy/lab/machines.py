"""Containers that are machines: what to run, what is there already, what to do about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Literal

from dsdeploy.lab.layout import Layout, Machine
from dsdeploy.lab.podman import ASKED, LAB, MACHINE, SITE_FILE, Podman

Verb = Literal["create", "replace", "start", "reuse"]
ONE_PROCESS = 1024  # shares: what one process of usual priority has
# Real-time for keepalived, which needs a fiftieth of it; who has used up its share waits for the period's end.
REALTIME_US, REALTIME_PERIOD_US = 5_000, 50_000
STOP_SECONDS = 30  # as long as services may take to stop when somebody restarts a machine


@dataclass(frozen=True)
class Wanted:
    """One machine with everything its container is made from. `folder`: what the mirror serves, else ""."""

    machine: Machine
    image: str
    public_key: str
    site_file: str
    folder: str = ""
    folder_token: str = ""


@dataclass(frozen=True)
class Container:
    """One container of a lab, as found. `state` is the program's word: running, exited, created…"""

    id: str
    name: str
    machine: str
    asked: str
    state: str

    @property
    def running(self) -> bool:
        return self.state == "running"


@dataclass(frozen=True)
class Action:
    wanted: Wanted
    verb: Verb


def run_argv(podman: Podman, lab: Layout, wanted: Wanted) -> list[str]:
    """The whole command that makes a machine, without the program's name."""
    machine = wanted.machine
    labels = {LAB: lab.name, MACHINE: machine.name, SITE_FILE: wanted.site_file, ASKED: asked(podman, lab, wanted)}
    argv = ["run", "-d", "--name", machine.container, "--hostname", machine.name]
    argv += [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    return [*argv, *_shape(podman, lab, wanted), wanted.image, "/sbin/init"]


def _shape(podman: Podman, lab: Layout, wanted: Wanted) -> list[str]:
    """Options that decide what the machine is; all of them go into the digest."""
    address = wanted.machine.address
    argv = [
        "--privileged",
        "--network",
        lab.network,
        f"--ip={address}",
        f"--mac-address={mac(address)}",
        *podman.ulimits,
        "--pids-limit=-1",
        *_processors(podman, wanted.machine),
        f"--stop-timeout={STOP_SECONDS}",
        "--tmpfs=/run:rw,exec,nosuid,nodev,mode=755",
        "--tmpfs=/tmp:rw,exec,nosuid,nodev,mode=1777",
    ]
    if podman.name == "podman":
        argv.append("--systemd=always")
    else:
        argv += ["--env=container=docker", "--stop-signal=SIGRTMIN+3"]
        argv += (
            ["--cgroupns=private"] if podman.cgroup2 else ["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup"]
        )
    if wanted.folder:
        argv.append(f"--volume={wanted.folder}:/srv/mirror:ro")
    return argv


def _processors(podman: Podman, machine: Machine) -> list[str]:
    """A share of this computer's processors for each machine, next to its own processes.

    podman's usual parent would be one group: all machines of all labs together with the weight of one process.
    """
    argv = [f"--cpu-shares={machine.weight * ONE_PROCESS}"]
    if podman.name == "podman" and not podman.cgroup2:
        argv.append("--cgroup-parent=/")
        if machine.router and podman.realtime:
            argv += [f"--cpu-rt-period={REALTIME_PERIOD_US}", f"--cpu-rt-runtime={REALTIME_US}"]
    return argv


def mac(address: str) -> str:
    """The card's address: one that changed with every start would leave the neighbours' ARP tables wrong."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0xD5, *IPv4Address(address).packed))


def asked(podman: Podman, lab: Layout, wanted: Wanted) -> str:
    """Digest of all that was asked of a machine: another one means that it must be made anew."""
    parts = [
        podman.name,
        str(lab.subnet),
        wanted.machine.name,
        wanted.image,
        wanted.public_key,
        wanted.site_file,
        wanted.folder_token,
        *_shape(podman, lab, wanted),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def parse(answer: Iterable[dict[str, Any]]) -> tuple[Container, ...]:
    """`inspect` of containers, in podman's words or docker's."""
    return tuple(_container(entry) for entry in answer)


def _container(entry: dict[str, Any]) -> Container:
    labels = entry["Config"].get("Labels") or {}
    return Container(
        entry["Id"],
        entry["Name"].lstrip("/"),
        labels.get(MACHINE, ""),
        labels.get(ASKED, ""),
        entry["State"]["Status"],
    )


def decide(
    podman: Podman,
    lab: Layout,
    wanted: Sequence[Wanted],
    found: Sequence[Container],
    prepared: dict[str, str],
) -> tuple[tuple[Action, ...], tuple[Container, ...]]:
    """What to do for each machine, and the containers nobody wants any more.

    `prepared`: container id -> host key, of those whose start was seen through; others are made anew.
    """
    by_name = {container.machine: container for container in found}
    actions = []
    for want in wanted:
        there = by_name.pop(want.machine.name, None)
        verb: Verb
        if there is None:
            verb = "create"
        elif there.asked != asked(podman, lab, want) or there.id not in prepared:
            verb = "replace"
        else:
            verb = "reuse" if there.running else "start"
        actions.append(Action(want, verb))
    return tuple(actions), tuple(by_name.values())


def find(podman: Podman, lab_name: str) -> tuple[Container, ...]:
    """All containers of a lab, stopped ones too."""
    ids = podman.words("ps", "-aq", "--no-trunc", "--filter", f"label={LAB}={lab_name}")
    return parse(podman.json("inspect", "--type", "container", *ids)) if ids else ()


def remove(podman: Podman, containers: Iterable[str]) -> None:
    """At once, without waiting for their services; what they wrote is lost."""
    if names := list(containers):
        podman.text("rm", "-f", *(["-t", "0"] if podman.name == "podman" else []), "-v", *names)

"""podman or docker: one place that starts it, one place that reads its answers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsdeploy.errors import LabError
from dsdeploy.lab.probe import Probe, limits, runtime

LAB = "dsdeploy.lab"  # label: the lab's name
MACHINE = "dsdeploy.machine"  # label: the machine's name in the site file
ASKED = "dsdeploy.asked"  # label: digest of everything that was asked of the container
SITE_FILE = "dsdeploy.site-file"  # label: where the lab was started from

_HINTS = (
    ("no such container", "dsdeploy lab up"),
    ("no space left", "free some disk space: podman system df"),
    ("container registry", "podman images shows what is here; without --image an image is built"),
    (
        "is already allocated to container",
        "take all labs down, this one too (podman ps); with no container running the same command frees the address",
    ),
    ("already in use", "another container has this name: podman ps -a, then podman rm -f NAME"),
    ("cannot connect to the docker daemon", "start it: systemctl start docker"),
    ("permission denied", "run as root: sudo .venv/bin/dsdeploy lab up"),
    (
        "operation not permitted",
        "this kernel refuses privileged containers: use a (virtual) machine of its own",
    ),
)


@dataclass(frozen=True)
class Podman:
    """How containers are made here.

    `name` is podman or docker (one command line serves both); `conf` is podman's settings file, an own one
    so that the machine's never count; `ulimits` are what every `run` needs; `cgroup2` the kernel's layout;
    `realtime`: a container has real-time priorities only where it is given a share of them.
    """

    name: str
    conf: Path | None
    ulimits: tuple[str, ...]
    cgroup2: bool
    realtime: bool = False

    def text(self, *args: str, stdin: str | None = None) -> str:
        """Run it and return what it printed. Raises LabError with its last line."""
        done = self._run(args, stdin)
        if done.returncode != 0:
            raise failure(self.name, args, done.stderr)
        return done.stdout

    def ok(self, *args: str) -> bool:
        """Did it exit with 0?"""
        return self._run(args, None).returncode == 0

    def words(self, *args: str) -> list[str]:
        return self.text(*args).split()

    def json(self, *args: str) -> Any:
        return json.loads(self.text(*args) or "[]")

    def own_env(self) -> dict[str, str]:
        """What somebody needs in the environment to see what this sees."""
        return {"CONTAINERS_CONF": str(self.conf)} if self.conf else {}

    def _run(self, args: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
        source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            [self.name, *args],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C", **self.own_env()},
            check=False,
            **source,
        )


def failure(name: str, args: Sequence[str], stderr: str) -> LabError:
    """The engine's own last line, and what to do where it is known."""
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    what = lines[-1].removeprefix("Error: ") if lines else "it failed and did not say why"
    hint = next((hint for sign, hint in _HINTS if sign in what.lower()), f"{name} info")
    return LabError(f"{name} {args[0]} failed: {what}", "this computer", hint)


def settings(chosen_runtime: str, *, netavark: bool) -> str:
    """containers.conf: nothing of the machine's own settings may decide whether a lab starts."""
    network = '\n[network]\nnetwork_backend="netavark"\n' if netavark else ""
    return (
        "[containers]\ndefault_ulimits=[]\n\n"
        f'[engine]\nruntime="{chosen_runtime}"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n{network}'
    )


def prepare(probe: Probe, folder: Path) -> Podman:
    """The program, with its settings written into `folder` (kept: a container's clean-up reads them)."""
    ulimits = tuple(f"--ulimit={kind}={value}:{value}" for kind, value in limits(probe).items())
    if probe.engine != "podman":
        return Podman(probe.engine, None, ulimits, probe.cgroup2, probe.realtime)
    conf = folder / "containers.conf"
    text = settings(runtime(probe), netavark=probe.netavark)
    if not conf.exists():
        # Asked plainly once while its store is empty, podman settles on netavark for good: then a
        # `podman restart` by hand, without our settings, finds the lab's network too.
        subprocess.run(["podman", "network", "ls"], capture_output=True, check=False)
    if not conf.exists() or conf.read_text() != text:
        fresh = conf.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(conf)
    return Podman("podman", conf, ulimits, probe.cgroup2, probe.realtime)

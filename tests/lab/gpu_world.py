"""What makes a lab machine a GPU host: NVIDIA's packages from a mirror, and a driver that answers.

gpu_machine has what lies below the operating system. Packages have their true names and versions and empty payloads,
but for libnvidia-ml.so (ours: it answers from a file, beside the module of its version alone), nvidia-smi, libraries
that tell a version, what a module was built of, and units.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dsdeploy.stacks import matrix

from ..roles.stack import world
from ..roles.stack.conftest import Key, told
from ..roles.stack.debs import repository
from ..roles.stack.world import Order, Package

ROOT = Path(__file__).resolve().parents[2]
STACK = "cuda12.8"
ANSWERS = "/srv/gpu/nvml"
DEBIAN = "usr/lib/x86_64-linux-gnu"
UNIT = b"[Service]\nExecStart=/bin/true\nRemainAfterExit=yes\n[Install]\nWantedBy=multi-user.target\n"


def product(folder: Path, key: Key, *instead: str) -> Path:
    """A copy of dsdeploy that trusts our key instead of these, whose owners alone have them; nothing else differs."""
    for name in ("dsdeploy", "roles", "playbooks", "templates"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    stacks = folder / "dsdeploy" / "stacks.yml"
    text = stacks.read_text()
    for theirs in (matrix().keys[name].fingerprint for name in instead):
        assert text.count(theirs) == 1, "stacks.yml names a key in another way"
        text = text.replace(theirs, key.fingerprint)
    stacks.write_text(text)
    return folder


def offer(mirror: Path, url: str, key: Key, scratch: Path) -> None:
    """NVIDIA's repository for Debian 12 below the mirror's folder: what is ordered, what is newer, the next branch."""
    order = told(STACK, "debian12", url, key)
    after = world.next_branch(order)
    packages = [*world.offered(order), *world.compilers(order), *world.offered(after, newer=False)]
    for driver in (str(order["driver"]), str(after["driver"])):
        packages = equipped(packages, driver, scratch)
    debs(mirror, url, key, order, packages)


def debs(mirror: Path, url: str, key: Key, order: Order, packages: Iterable[Package]) -> None:
    """The repository of an order with these packages; the running kernel's headers too, which is not Debian's."""
    every = dict.fromkeys([*packages, Package(f"linux-headers-{platform.release()}", "1")])
    for one in order["repositories"]:
        repository(mirror / one["url"].removeprefix(url), every, key.words)
    for one in order["keys"]:
        (mirror / one["url"].removeprefix(url)).write_text(key.public)


def equipped(packages: Iterable[Package], driver: str, scratch: Path, folder: str = DEBIAN) -> list[Package]:
    """The same packages, those of this driver with what it needs to be one: our NVML in `folder`, nvidia-smi, what its
    module was built of, units, a version."""
    files = {
        "libnvidia-compute": {f"{folder}/libnvidia-ml.so.{driver}": compiled(scratch, driver).read_bytes()},
        "nvidia-driver": {"usr/bin/nvidia-smi": (Path(__file__).parent / "nvidia_smi.py").read_bytes()},
        **{
            f"{kernel}-{modules}-dkms": {f"usr/src/nvidia{flavour}-{driver}/dkms.conf": b"# built already\n"}
            for kernel in ("nvidia-kernel", "kmod-nvidia")
            for modules, flavour in (("open", "-open"), ("proprietary", ""))
        },
        "nvidia-persistenced": {"usr/lib/systemd/system/nvidia-persistenced.service": UNIT},
        "nvidia-fabricmanager": {
            "usr/lib/systemd/system/nvidia-fabricmanager.service": UNIT,
            "usr/bin/nv-fabricmanager": f"#!/bin/sh\necho 'Fabric Manager version is : {driver}'\n".encode(),
        },
    }
    return [
        replace(one, files=files[one.name]) if one.name in files and one.version.startswith(driver) else one
        for one in packages
    ]


def compiled(scratch: Path, driver: str = "") -> Path:
    """Our NVML, whose answers the hosts have; of a driver, it wants that one's module in memory."""
    made = scratch / f"libnvidia-ml.so.{driver or 1}"
    source = ROOT / "tests" / "roles" / "health" / "fake_nvml.c"
    words = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", f'-DANSWERS="{ANSWERS}"',
             *([f'-DDRIVER="{driver}"'] if driver else [])]  # fmt: skip
    subprocess.run([*words, "-o", str(made), str(source)], check=True)
    return made


def wrong(url: str) -> str:
    """Shell lines that leave what a hand may have: another driver, Fabric Manager of a third, a `cuda` that drags."""
    place = f"{url}developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/"
    words = "nvidia-open=590.48.01-1ubuntu1 nvidia-fabricmanager=580.999.01-1ubuntu1 cuda"
    return (
        f"echo 'deb [trusted=yes] {place} /' > /etc/apt/sources.list.d/cuda-debian12.list && apt-get -q update && "
        f"DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install {words} unattended-upgrades"
    )


NIGHTLY = """
echo 'Unattended-Upgrade::Origins-Pattern { "origin=NVIDIA"; };' > /etc/apt/apt.conf.d/99tests
unattended-upgrade --dry-run -v 2>&1 | sed -n 's/^Packages that will be upgraded://p'
"""
# all three things that keep a version where it is, away and back
LOOSE = """
mkdir -p /srv/aside; apt-mark showhold > /srv/aside/held; apt-mark unhold $(cat /srv/aside/held)
mv /etc/apt/preferences.d/dsdeploy-stack /etc/apt/apt.conf.d/52dsdeploy-stack /srv/aside/
"""
FAST = """
mv /srv/aside/dsdeploy-stack /etc/apt/preferences.d/; mv /srv/aside/52dsdeploy-stack /etc/apt/apt.conf.d/
apt-mark hold $(cat /srv/aside/held)
"""

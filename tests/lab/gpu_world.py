"""What makes a lab machine a GPU host: a bus with GPUs on it, NVIDIA's packages from a mirror, a driver that answers.

Packages have their true names and versions and empty payloads, but for libnvidia-ml.so (ours: it answers from a file),
nvidia-smi (ours: it asks that library), the libraries that tell a version, and units. The bus is a folder mounted over
sysfs', the kernel's log a file that a `journalctl` in front of the real one reads: machines of the lab share a kernel,
and its log is not ours to write to.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
JOURNAL = """#!/bin/sh
# of the tests: what the kernel says stands in a file, all else is the journal's
case " $* " in *" -k "*) exec cat /srv/gpu/kernel.log ;; *) exec /usr/bin/journalctl "$@" ;; esac
"""


@dataclass(frozen=True)
class Ours:
    """A driver's two ways to answer: NVML, which reads its answers where the hosts have them, and nvidia-smi."""

    library: bytes
    smi: bytes


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
    """NVIDIA's repository for Debian 12 below the mirror's folder."""
    order = told(STACK, "debian12", url, key)
    packages = [*world.offered(order), *world.compilers(order)]
    debs(mirror, url, key, order, equipped(packages, str(order["driver"]), compiled(scratch)))


def debs(mirror: Path, url: str, key: Key, order: Order, packages: Iterable[Package]) -> None:
    """The repository of an order with these packages; the running kernel's headers too, which is not Debian's."""
    every = dict.fromkeys([*packages, Package(f"linux-headers-{platform.release()}", "1")])
    for one in order["repositories"]:
        repository(mirror / one["url"].removeprefix(url), every, key.words)
    for one in order["keys"]:
        (mirror / one["url"].removeprefix(url)).write_text(key.public)


def equipped(packages: Iterable[Package], driver: str, ours: Ours, folder: str = DEBIAN) -> list[Package]:
    """The same packages, those of this driver with what it needs to be one: our NVML in `folder`, units, a version."""
    files = {
        "libnvidia-compute": {f"{folder}/libnvidia-ml.so.{driver}": ours.library},
        "nvidia-driver": {"usr/bin/nvidia-smi": ours.smi},
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


def compiled(scratch: Path) -> Ours:
    """Both, made by the compiler of this computer."""
    nvml, smi = ROOT / "tests" / "roles" / "health" / "fake_nvml.c", ROOT / "tests" / "lab" / "fake_smi.c"
    shared = ["-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", f'-DANSWERS="{ANSWERS}"']
    for made, source, words in ((scratch / "libnvidia-ml.so", nvml, shared), (scratch / "nvidia-smi", smi, [])):
        subprocess.run(["gcc", "-Wall", "-Werror", *words, "-o", str(made), str(source)], check=True)
    return Ours((scratch / "libnvidia-ml.so").read_bytes(), (scratch / "nvidia-smi").read_bytes())


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


def bus(gpus: int, switches: int = 0) -> str:
    """Shell lines that put so many H200 and NVSwitches on a machine's bus, in front of whatever it has."""
    lines = ["set -e; mkdir -p /srv/gpu/bus; touch /srv/gpu/kernel.log"]
    devices = [(0x17 + i, "0x030200", "0x2335") for i in range(gpus)]
    devices += [(0xC0 + i, "0x068000", "0x22a3") for i in range(switches)]
    for number, kind, device in devices:
        place = f"/srv/gpu/bus/0000:{number:02x}:00.0"
        lines.append(f"mkdir -p {place}; cd {place}; echo 0x10de >vendor; echo {kind} >class; echo {device} >device")
    lines.append("mountpoint -q /sys/bus/pci/devices || mount --bind /srv/gpu/bus /sys/bus/pci/devices")
    lines.append(f"cat > /usr/local/bin/journalctl <<'END'\n{JOURNAL}END\nchmod 755 /usr/local/bin/journalctl")
    return "\n".join(lines)

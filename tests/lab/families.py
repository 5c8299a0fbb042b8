"""What a site of two package managers is served: each family's repositories with the true names, versions and keys.

NVIDIA's for Debian 12 and for EL 9 with two driver branches, EPEL's (empty), and a BaseOS with what the roles ask a
Rocky machine for. Packages are signed; payloads are empty but for what gpu_world gives them, and for the plugin that
the stand-in (dnf_image) has put aside.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from dsdeploy.stacks import Gpu

from ..roles.stack import rpms, world
from ..roles.stack.conftest import Key, told
from ..roles.stack.world import Order, Package
from . import dnf_image, gpu_world

STACK = "cuda13"
KEYS = ("nvidia-deb", "nvidia-rpm", "epel9")
VOLTA = Gpu("Tesla V100-SXM2-32GB")  # has proprietary modules only: so the other stream is ordered for it
BASEOS = "download.rockylinux.org/pub/rocky/9/BaseOS/x86_64/os/"
NVIDIA = "developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64/"
LOCK = b"[main]\nenabled = 1\nlocklist = /etc/dnf/plugins/versionlock.list\n"


@dataclass(frozen=True)
class Branches:
    """Drivers by version: what stacks.yml orders, and what its next edition may."""

    now: str
    after: str


def offer(mirror: Path, url: str, key: Key, scratch: Path, plugin: bytes) -> Branches:
    """Everything, below the mirror's folder that `url` names. `plugin`: versionlock's file of the stand-in's shelf."""
    deb, rpm = (told(STACK, name, url, key) for name in ("debian12", "el9"))
    branches = Branches(str(deb["driver"]), str(world.next_branch(deb)["driver"]))
    gpu_world.debs(mirror, url, key, deb, _equipped(_stock(deb), branches, scratch, gpu_world.DEBIAN))
    builder = rpms.Builder(scratch / "rpms", key.words, scripts=True)
    other = world.offered(told(STACK, "el9", url, key, gpus=(VOLTA,)))
    packages = _equipped([*_stock(rpm), *other], branches, scratch, "usr/lib64")
    rpms.publish(mirror, url, rpm, packages, builder, key.public)
    rpms.repository(mirror / BASEOS, baseos(plugin), builder)
    (mirror / BASEOS / "RPM-GPG-KEY-Rocky-9").write_text(key.public)
    return branches


def _stock(order: Order) -> list[Package]:
    """What is ordered, what is newer, and the branch after it."""
    return [*world.offered(order), *world.compilers(order), *world.offered(world.next_branch(order), newer=False)]


def _equipped(packages: list[Package], branches: Branches, scratch: Path, folder: str) -> list[Package]:
    first = gpu_world.equipped(packages, branches.now, scratch, folder)
    return gpu_world.equipped(first, branches.after, scratch, folder)


def baseos(plugin: bytes) -> list[Package]:
    """Names as on Rocky 9.6, empty where the stand-in has the thing; kernel-devel is of the kernel that runs here."""
    return [
        Package("rocky-release", "9.6-1.3.el9", provides=("system-release(releasever) = 9",)),
        Package("glibc", "2.34-168.el9", provides=("/sbin/ldconfig",)),
        Package("chrony", "4.6.1-1.el9", files={"usr/lib/systemd/system/chronyd.service": gpu_world.UNIT}),
        Package(
            "python3-dnf-plugin-versionlock", "4.3.0-20.el9",
            files={
                "etc/dnf/plugins/versionlock.conf": LOCK, "etc/dnf/plugins/versionlock.list": b"",
                f"{dnf_image.PLUGINS[1:]}/versionlock.py": plugin,
            },
        ),
        Package(f"kernel-devel-{platform.release()}", "1-1"),
    ]  # fmt: skip


def release(url: str) -> str:
    """Shell lines that make the stand-in know its repository and, from a package as on Rocky, its release."""
    return f"""set -e
cat > /etc/yum.repos.d/rocky.repo <<'END'
[baseos]
name=Rocky Linux $releasever - BaseOS
baseurl={url}{BASEOS.replace("rocky/9", "rocky/$releasever").replace("x86_64", "$basearch")}
enabled=1
gpgcheck=1
gpgkey={url}{BASEOS}RPM-GPG-KEY-Rocky-9
END
dnf -y -q --releasever=9 install rocky-release
"""


def wrong(url: str) -> str:
    """Shell lines that leave what a hand may have: NVIDIA's file of sources, the other flavour of the driver, whose
    metapackage let in parts of a newer branch beside its Fabric Manager, and a `cuda` that drags."""
    return f"""set -e
cat > /etc/yum.repos.d/cuda-rhel9.repo <<'END'
[cuda-rhel9-x86_64]
name=cuda-rhel9-x86_64
baseurl={url}{NVIDIA}
enabled=1
gpgcheck=0
END
dnf -y -q module enable nvidia-driver:580-dkms
dnf -y -q install cuda-drivers-580.999.01 nvidia-fabricmanager-580.999.01 cuda
"""


def next_branch(product: Path, branches: Branches) -> None:
    """The copy of dsdeploy orders the branch after: its stacks.yml is of a later edition."""
    stacks = product / "dsdeploy" / "stacks.yml"
    now, after = (version.split(".")[0] for version in (branches.now, branches.after))
    first, second = f"  apt-{now}:\n", "  apt-570:\n"
    head, _, rest = stacks.read_text().partition(first)
    part, found, tail = rest.partition(second)
    assert found and f"rpm-{now}:" in part, "stacks.yml is laid out in another way"
    part = part.replace(branches.now, branches.after).replace(now, after).replace(f"rpm-{after}:", f"rpm-{now}:")
    stacks.write_text(head + first + part + second + tail)

"""What one host is told to install: the matrix's packages for its distribution and GPUs, as the stack role takes them.

Pure: the same host and site always give the same order, and its digest names it. The role decides nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from dsdeploy.stacks import place, sources, verify, versions
from dsdeploy.stacks.host import Host
from dsdeploy.stacks.shapes import Driver, Install, Matrix, Packages, Profile

Order = dict[str, Any]

# What belongs to a driver, by the names that debs and rpms have; the container toolkit goes its own way.
DRIVER = ("*nvidia*", "cuda-drivers*", "libcuda1*", "libxnvctrl*", "nvlsm*")
NOT_DRIVER = ("*nvidia-container*", "nvidia-gds*", "nvidia-fs*", "nvidia-docker*")
# Packages that pull whatever driver is newest, or that are another's make of the same files.
DRAG = ("cuda", "cuda-[0-9]*-[0-9]*", "cuda-runtime-[0-9]*", "cuda-demo-suite-[0-9]*", "cuda-drivers-fabricmanager*")
UBUNTU_OWN = (
    "nvidia-*-server*",
    "libnvidia-*-server*",
    "linux-modules-nvidia-*",
    "xserver-xorg-video-nvidia-*-server*",
)
SERVICES = {"persistenced": "nvidia-persistenced.service", "fabric": "nvidia-fabricmanager.service"}
# What takes a driver from a running engine when it changes; the rest says where packages come from and what holds them.
INSTALLED = (
    "driver", "flavour", "stream", "steps", "unwanted", "family_names", "foreign_names", "services", "kernel_modules",
)  # fmt: skip
# EL7 has no dnf; the yum of EL8 and 9 is dnf
MANAGERS = {"debian": "apt", "redhat": "dnf", "centos7": "yum"}


def order(matrix: Matrix, profile: Profile, host: Host, mirror: str = "", nvswitch: bool = False) -> Order | None:
    """The order, without the role's prefix; None where there is nothing to install or nothing that fits.

    `nvswitch` adds Fabric Manager, at exactly the driver's version. `mirror` is the base below which every repository
    is copied, "" for the makers' own servers.
    """
    packages = place.install(matrix, profile, host)
    if packages is None or packages.driver is None or host.architecture not in packages.architectures:
        return None
    driver, flavour = packages.driver, place.flavour(matrix, packages.driver, host)
    if not flavour:
        return None
    fabric = dict(driver.fabric) if nvswitch else {}
    nvlink5 = dict(driver.nvlink5) if nvswitch and place.nvlink5(matrix, host) else {}
    # forward compatibility is for a driver older than its CUDA, and does harm beside a newer one
    compat = packages.compat if versions.older(driver.version, profile.own) else {}
    told: Order = {
        "name": profile.name,
        "manager": MANAGERS.get(packages.distribution, MANAGERS[matrix.distributions[packages.distribution].family]),
        "keys": sources.keys(matrix, packages, mirror),
        "repositories": sources.repositories(matrix, packages, host.architecture, mirror),
        "displaced": sources.displaced(matrix, packages),
        **components(matrix, packages),
        "stream": driver.stream.get(flavour, ""),
        "driver": driver.version,
        "flavour": flavour,
        "steps": _steps(driver, {**driver.flavours[flavour], **fabric, **nvlink5}, packages, compat),
        "pins": _pins(driver, packages),
        "unwanted": [*DRAG, *(UBUNTU_OWN if host.id == "ubuntu" else ())],
        "family_names": list(DRIVER),
        "foreign_names": list(NOT_DRIVER),
        "held": _held(profile, packages),
        "services": [SERVICES["persistenced"], *([SERVICES["fabric"]] if fabric else [])],
        "kernel_modules": ["ib_umad"] if nvlink5 else [],
        "checks": _checks(matrix, profile, packages, nvswitch),
    }
    return told | {"digest": digest(told), "packages_digest": digest({key: told[key] for key in INSTALLED})}


def components(matrix: Matrix, packages: Install) -> Order:
    """Components of the distribution that NVIDIA's packages need beside those a fresh host asks for; nothing at all
    where there are none."""
    found = matrix.distributions[packages.distribution].components
    return {"components": list(found)} if found else {}


def digest(told: Order) -> str:
    """What names an order, or the part of it that changes packages, as 16 hex digits: hosts keep those of the one they
    carried out."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _steps(driver: Driver, now: Packages, packages: Install, compat: Packages) -> list[list[dict[str, str]]]:
    """Package transactions in order: what must go first, the driver with all that must equal it, the libraries.

    Driver and Fabric Manager in one, so that there is no moment with two versions.
    """
    first = {name: version for name, version in now.items() if name in driver.first}
    rest = {name: version for name, version in now.items() if name not in first}
    libraries = {**packages.toolkit, **packages.cudnn, **packages.nccl, **compat}
    return [
        [{"name": name, "version": version} for name, version in step.items()]
        for step in (first, rest, libraries)
        if step
    ]


def _pins(driver: Driver, packages: Install) -> list[dict[str, str]]:
    """Versions the package manager prefers whatever else a repository offers: a driver's metapackage asks for its
    parts by `>=`, and would otherwise get the newest of the branch."""
    exact = {**packages.toolkit, **packages.cudnn, **packages.nccl}
    return [{"names": name, "version": f"{driver.version}*"} for name in ("*nvidia*", "cuda-drivers*", "libcuda1*")] + [
        {"names": name, "version": version} for name, version in exact.items() if version != "*"
    ]


def _held(profile: Profile, packages: Install) -> list[str]:
    """Names that no upgrade may move: the driver's, and everything of this CUDA (`libcublas-12-8`)."""
    series = profile.cuda.replace(".", "-")
    libraries = {**packages.cudnn, **packages.nccl}
    return [*DRIVER, f"*-{series}", f"*-{series}-*", *libraries]


def _checks(matrix: Matrix, profile: Profile, packages: Install, nvswitch: bool) -> list[dict[str, str]]:
    found = verify.checks(matrix, profile, packages)
    return [asdict(check) for check in found if check.where != "nvswitch" or nvswitch]


def matches(told: Order, driver: str) -> bool:
    """Whether a driver's version is the ordered one."""
    return versions.same(str(told["driver"]), driver)

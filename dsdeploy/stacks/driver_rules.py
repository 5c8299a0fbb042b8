"""Rules about the driver: old enough, supported, loaded, signed, and in step with Fabric Manager."""

from __future__ import annotations

from collections.abc import Iterator

from dsdeploy.stacks import gpus, place, versions
from dsdeploy.stacks.host import Host
from dsdeploy.stacks.shapes import Matrix, Profile
from dsdeploy.stacks.verdict import Verdict


def effective(matrix: Matrix, profile: Profile, host: Host) -> str:
    """The driver that will run: the installed one, else the stack's own; "" where there is neither."""
    if host.driver is not None:
        return host.driver
    packages = place.install(matrix, profile, host)
    return packages.driver.version if packages and packages.driver else ""


def version(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Driver against CUDA: new enough by itself, by minor-version compatibility, by a compat package, or not."""
    driver = effective(matrix, profile, host)
    if not profile.cuda or not driver:
        return
    shown = f"driver {driver}" if host.driver is not None else f"the stack's driver {driver}"
    if versions.older(driver, profile.minimum):
        yield _too_old(matrix, profile, host, driver)
    elif versions.older(driver, profile.floor):
        yield Verdict("warn", "driver", f"{shown} runs CUDA {profile.cuda}, but the stack is made for {profile.floor} "
                      "or newer")  # fmt: skip
    elif versions.older(driver, profile.own):
        yield _minor(matrix, profile, host, shown)
    else:
        yield Verdict("ok", "driver", f"{shown} is as new as CUDA {profile.cuda} wants ({profile.own})")


def _too_old(matrix: Matrix, profile: Profile, host: Host, driver: str) -> Verdict:
    """Forward compatibility exists for data-centre GPUs and named branches only."""
    why = f"CUDA {profile.cuda} needs driver {profile.minimum} or newer, the host has {driver}"
    cards = bool(host.gpus) and all(gpus.datacentre(matrix, gpu) for gpu in host.gpus)
    if cards and versions.series(driver, 1) in profile.compat_branches:
        return Verdict(
            "warn", "driver", f"{why}; on data-centre GPUs it runs with {profile.compat} in the library path"
        )
    if host.gpus and not cards and versions.series(driver, 1) in profile.compat_branches:
        why += f"; {profile.compat} is for data-centre GPUs only"
    return Verdict("error", "driver", why)


def _minor(matrix: Matrix, profile: Profile, host: Host, shown: str) -> Verdict:
    why = (
        f"{shown} is older than CUDA {profile.cuda}'s own ({profile.own}) and runs it by minor-version compatibility: "
        "programs that bring PTX instead of code for the GPU fail"
    )
    if host.gpus and not all(gpus.datacentre(matrix, gpu) for gpu in host.gpus):
        return Verdict("warn", "driver", f"{why}, and {profile.compat} does not help on these GPUs")
    return Verdict("ok", "driver", f"{why} without {profile.compat}")


def support(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Branches that get no security fixes any more."""
    driver = effective(matrix, profile, host) if profile.cuda else ""
    branch = place.branch(matrix, driver)
    if branch and versions.ended(branch.eol, matrix.reviewed):
        yield Verdict("warn", "support", f"driver branch {branch.key} has had no updates since {branch.eol}")


def loaded(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """The module in memory is of another version than the libraries: nothing that uses CUDA starts."""
    if host.driver and host.loaded and not versions.same(host.driver, host.loaded):
        yield Verdict("error", "reboot", f"the kernel module in memory is {host.loaded}, the libraries are "
                      f"{host.driver}: Driver/library version mismatch until the host restarts")  # fmt: skip


def secure_boot(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """A module built on the host is signed by a key the firmware does not know."""
    if not profile.cuda or not host.secure_boot:
        return
    if host.driver is not None:
        yield Verdict("warn", "secure boot", "Secure Boot is on: the driver that runs is trusted, one that replaces it "
                      "will not load before its signing key (MOK) is enrolled at the console")  # fmt: skip
        return
    yield Verdict("error", "secure boot", "Secure Boot is on and the driver's modules are built on the host: enrol "
                  "their signing key at the console (mokutil --import, then reboot), install signed modules "
                  "(Ubuntu: linux-modules-nvidia-*), or switch Secure Boot off")  # fmt: skip


def fabric(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """NVSwitch needs Fabric Manager, at exactly the driver's version: it stops by itself at any other."""
    hidden = place.nvlink5(matrix, host)
    if not profile.cuda or not (host.nvswitch or hidden):
        return
    packages = place.install(matrix, profile, host)
    planned = packages.driver if packages else None
    if host.driver is None and planned:
        if planned.fabric:
            yield Verdict("ok", "fabric manager", f"NVSwitch: Fabric Manager comes at {planned.version}, as the driver")
        else:
            yield Verdict("error", "fabric manager", f"NVSwitch: no Fabric Manager is packaged for {planned.version}")
    elif host.driver and host.fabric_manager == "":
        yield Verdict("warn", "fabric manager", f"NVSwitch without Fabric Manager: CUDA fails with error 802 until "
                      f"{host.driver} of it is installed, the driver's exact version")  # fmt: skip
    elif host.driver and host.fabric_manager and not versions.same(host.driver, host.fabric_manager):
        yield Verdict("error", "fabric manager", f"Fabric Manager {host.fabric_manager} beside driver {host.driver}: "
                      "it starts at exactly the driver's version only, and CUDA fails with error 802")  # fmt: skip
    if hidden and host.nvswitch is not None:
        yield Verdict(
            "ok", "nvlink5", "this HGX board reaches NVSwitch through ib_umad: nvlsm and the module are needed"
        )

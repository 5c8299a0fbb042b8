"""Every rule, in the order in which an operator wants to read them; and the ones about the system itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dsdeploy.stacks import driver_rules, gpu_rules, place, versions, wheels
from dsdeploy.stacks.host import Host
from dsdeploy.stacks.shapes import Matrix, Profile
from dsdeploy.stacks.verdict import Verdict

Rule = Callable[[Matrix, Profile, Host], Iterator[Verdict]]


def system(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Is the profile packaged for this distribution and architecture?"""
    found = place.distribution(matrix, host)
    if found is None:
        known = place.elsewhere(matrix, host)
        shown = known.name if known else f"{host.id} {host.version}".strip() or "a system without a name"
        why = known.why if known else "no stack is described for it"
        yield Verdict("error", "distribution", f"{shown}: {why}")
        return
    packages = profile.installs[found.key]
    if packages.none:
        yield Verdict("error", "packages", f"{profile.name} cannot be installed on {found.name}: {packages.none}")
    elif host.architecture not in packages.architectures:
        offered = ", ".join(packages.architectures)
        yield Verdict("error", "architecture", f"{profile.name} on {found.name} exists for {offered}, not for "
                      f"{host.architecture}")  # fmt: skip
    else:
        yield Verdict("ok", "packages", f"{profile.name} is described for {found.name}")


def age(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Distributions without updates, and kernels they never shipped."""
    found = place.distribution(matrix, host)
    if found is None:
        return
    if versions.ended(found.eol, matrix.reviewed):
        yield Verdict("warn", "distribution", f"{found.name} has had no security updates since {found.eol}")
    running = versions.series(host.kernel, 2)
    if profile.cuda and running and running not in found.kernels:
        yield Verdict("warn", "kernel", f"kernel {running} is not one of {found.name} ({', '.join(found.kernels)}): "
                      "the driver's modules may not build for it")  # fmt: skip


RULES: tuple[Rule, ...] = (
    system,
    age,
    driver_rules.version,
    driver_rules.support,
    driver_rules.loaded,
    gpu_rules.compute,
    gpu_rules.generation,
    gpu_rules.modules,
    gpu_rules.mixture,
    gpu_rules.cautions,
    driver_rules.secure_boot,
    driver_rules.fabric,
    wheels.fit,
)

"""Rules about the GPUs: what CUDA has code for, which drivers know them, which kernel modules drive them."""

from __future__ import annotations

from collections.abc import Iterator

from dsdeploy.stacks import driver_rules, gpus, place, versions
from dsdeploy.stacks.host import Gpu, Host
from dsdeploy.stacks.shapes import Matrix, Profile
from dsdeploy.stacks.verdict import Verdict


def kinds(matrix: Matrix, host: Host) -> Iterator[tuple[Gpu, str]]:
    """One GPU of each name, and how it is called in a sentence: `8x NVIDIA H20 (Hopper, 9.0)`."""
    for name in dict.fromkeys(gpu.name for gpu in host.gpus):
        same = [gpu for gpu in host.gpus if gpu.name == name]
        generation = gpus.architecture(matrix, same[0])
        told = gpus.compute(matrix, same[0])
        count = f"{len(same)}x " if len(same) > 1 else ""
        yield same[0], f"{count}{name}" + (f" ({generation.name}, {told})" if generation else "")


def compute(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Compute capability against the code in CUDA's libraries: upwards it runs within one major number only."""
    if not profile.cuda:
        return
    if not host.gpus:
        yield Verdict("warn", "gpu", "no GPU is known on this host, nothing about them was judged")
    lowest, highest = profile.compute.lowest, profile.compute.highest
    for gpu, shown in kinds(matrix, host):
        told = gpus.compute(matrix, gpu)
        if not told:
            yield Verdict("warn", "gpu", f"{shown}: its compute capability is not known")
        elif versions.older(told, lowest):
            yield Verdict("error", "gpu", f"{shown} is below {lowest}, the oldest CUDA {profile.cuda} has code for")
        elif not versions.older(highest, told):
            yield Verdict("ok", "gpu", f"{shown}: CUDA {profile.cuda} has code for it")
        elif versions.series(told, 1) == versions.series(highest, 1):
            yield Verdict("warn", "gpu", f"{shown} runs code made for {highest}: CUDA {profile.cuda} does not know it")
        else:
            yield Verdict("error", "gpu", f"{shown} is above {highest}, the newest CUDA {profile.cuda} has code for")


def generation(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Driver against GPU: too old to know it, or too new to drive it still."""
    driver = driver_rules.effective(matrix, profile, host) if profile.cuda else ""
    branch = place.branch(matrix, driver)
    for gpu, shown in kinds(matrix, host) if driver else ():
        made = gpus.architecture(matrix, gpu)
        if made and versions.older(driver, made.driver):
            yield Verdict("error", "driver", f"{shown} needs driver branch {made.driver} or newer, not {driver}")
        elif made and branch and versions.older(made.compute.highest, branch.compute):
            last = _last(matrix, made.compute.highest)
            yield Verdict("error", "driver", f"{shown} is not driven by branch {branch.key} any more: "
                          f"{last} is the last for {made.name}")  # fmt: skip


def _last(matrix: Matrix, told: str) -> str:
    """The newest branch that still drives this compute capability."""
    among = [key for key, branch in matrix.branches.items() if not versions.older(told, branch.compute)]
    return max(among, key=versions.parse)


def modules(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Open or proprietary kernel modules: none before Turing, nothing else from Blackwell on."""
    usable = place.flavours(matrix, host)
    packages = place.install(matrix, profile, host)
    if not profile.cuda or not host.gpus:
        return
    names = ", ".join(shown for _, shown in kinds(matrix, host))
    if not usable:
        yield Verdict("error", "kernel modules", f"{names}: some need open modules, some proprietary ones, and a host "
                      "loads only one kind")  # fmt: skip
    elif host.driver is not None and host.modules:
        if host.modules not in usable:
            yield Verdict("error", "kernel modules", f"{names}: only {usable[0]} modules drive it, {host.modules} ones "
                          "are loaded")  # fmt: skip
    elif host.driver is None and packages and packages.driver:
        flavour = place.flavour(matrix, packages.driver, host)
        if flavour:
            yield Verdict("ok", "kernel modules", f"the {flavour} ones of driver {packages.driver.version}")
        else:
            yield Verdict("error", "kernel modules", f"{names}: only {usable[0]} modules drive it, and driver branch "
                          f"{packages.driver.branch} is not packaged with them here")  # fmt: skip


def mixture(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """Several models among the GPUs an engine takes: it gives each an equal part."""
    names = [shown for _, shown in kinds(matrix, host)]
    if profile.cuda and len(names) > 1:
        yield Verdict("warn", "gpu", f"GPUs of several models: {', '.join(names)}; an engine gives each an equal part: "
                      "the smallest and the slowest decide (engine.devices can name those of one model)")  # fmt: skip


def cautions(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """What was seen to go wrong though no rule forbids it."""
    driver = driver_rules.effective(matrix, profile, host)
    names = {entry.name for gpu in host.gpus if (entry := gpus.model(matrix, gpu.name))}
    for caution in matrix.cautions if profile.cuda else ():
        if caution.gpu in names and versions.series(driver, 1) == caution.branch:
            yield Verdict("warn", "seen", caution.why)

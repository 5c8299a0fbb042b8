"""Engines' wheels against the host: glibc, Python, and the oldest GPU they were built for."""

from __future__ import annotations

from collections.abc import Iterator

from dsdeploy.stacks import gpus, place, versions
from dsdeploy.stacks.host import Host
from dsdeploy.stacks.shapes import Matrix, Profile, Runtime
from dsdeploy.stacks.verdict import Verdict


def fit(matrix: Matrix, profile: Profile, host: Host) -> Iterator[Verdict]:
    """An error where none of the profile's engines runs; a warning for each that does not, or wants another Python."""
    packages = place.install(matrix, profile, host)
    if packages is None or packages.none:
        return  # said already, and there is nothing to run
    refused = {runtime: found for runtime in profile.runtimes if (found := list(_refusals(matrix, runtime, host)))}
    level = "error" if len(refused) == len(profile.runtimes) else "warn"
    for runtime in profile.runtimes:
        for what, why in refused.get(runtime, ()):
            yield Verdict("error" if level == "error" else "warn", what, f"{runtime.key}: {why}")
        if runtime not in refused:
            yield from _python(matrix, runtime, host)


def _refusals(matrix: Matrix, runtime: Runtime, host: Host) -> Iterator[tuple[str, str]]:
    if versions.older(host.glibc, runtime.glibc):
        yield "glibc", f"its wheel needs glibc {runtime.glibc}, the host has {host.glibc}"
    if host.python and not _has(runtime, host.python):
        found = place.distribution(matrix, host)
        if found and not _others(runtime, found.pythons):
            newest = max(found.pythons, key=versions.parse)
            yield "python", f"it needs Python {runtime.python}, {found.name} offers up to {newest}"
    for gpu in {gpu.name: gpu for gpu in host.gpus}.values():
        told = gpus.compute(matrix, gpu)
        if runtime.compute and versions.older(told, runtime.compute):
            yield "wheels", f"it needs compute capability {runtime.compute}, {gpu.name} has {told}"


def _python(matrix: Matrix, runtime: Runtime, host: Host) -> Iterator[Verdict]:
    found = place.distribution(matrix, host)
    if found is None or not host.python or _has(runtime, host.python):
        return
    chosen = max(_others(runtime, found.pythons), key=versions.parse)
    yield Verdict("warn", "python", f"{runtime.key}: it needs Python {runtime.python}, the host's is {host.python}: "
                  f"install python{chosen} of {found.name} beside it")  # fmt: skip


def _has(runtime: Runtime, python: str) -> bool:
    """Whether a Python is one the wheel installs on; 3.10.12 is 3.10."""
    return versions.within(versions.series(python, 2), runtime.python.lowest, runtime.python.highest)


def _others(runtime: Runtime, pythons: tuple[str, ...]) -> list[str]:
    return [python for python in pythons if _has(runtime, python)]

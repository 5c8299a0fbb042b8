"""What a build was made for, as one line of its key: architecture, and for machine code GPU, driver and tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dsdeploy.errors import PreflightError, Problem
from dsdeploy.facts import Gpus, Os, TensorRt

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site


def reads(site: Site) -> tuple[type[Any], ...]:
    """The facts `describe` needs beside Os; none for llamacpp."""
    return () if site.engine.runtime == "llamacpp" else (Gpus, TensorRt)


def describe(site: Site, readings: Mapping[str, Reading]) -> str:
    """E.g. ``x86_64 sm_9.0 NVIDIA H200 driver 580.65.06``; for triton with ``tensorrt 8601`` behind it.

    A plan or a compiled kernel is of one GPU and one driver, so hosts that differ cannot have one build.
    Raises PreflightError with who differs. A GGUF file holds no machine code: its architecture is enough.
    """
    systems = {system.arch for reading in readings.values() if (system := reading.get(Os))}
    arch = "+".join(sorted(systems)) or "x86_64"
    if site.engine.runtime == "llamacpp":
        return arch
    seen = {host: one(site, reading) for host, reading in readings.items() if host in site.with_role("engine")}
    told = {text for text in seen.values() if text}
    if len(told) > 1:
        raise PreflightError(list(_differing(site, seen)))
    return f"{arch} {told.pop()}" if told else arch


def one(site: Site, reading: Reading) -> str:
    """What one host is, "" when nothing answered there."""
    gpus = reading.get(Gpus) or Gpus()
    wanted = site.engine.devices
    used = [gpu for gpu in gpus if wanted == "all" or gpu.index in wanted]
    if not used:
        return ""
    kinds = sorted({f"sm_{gpu.compute} {gpu.name}" for gpu in used})
    text = f"{'+'.join(kinds)} driver {used[0].driver}"
    if site.engine.runtime == "triton":
        found = reading.get(TensorRt)
        text += f" tensorrt {site.engine.image or (found.version if found else '') or 'unknown'}"
    return text


def _differing(site: Site, seen: Mapping[str, str]) -> Iterator[Problem]:
    shown = "; ".join(f"{host}: {text or 'unknown'}" for host, text in seen.items())
    yield Problem(
        f"one build of {site.engine.runtime} cannot serve hosts that differ: {shown}",
        f"site {site.site}",
        "bring drivers and TensorRT to one version, or split unlike GPUs into two sites",
    )

"""What a release is, and its names. Pure: a site and a digest in, ids out; same input, same id for ever.

release = weights + build + runtime + settings. Its id is ``<model version>-<12 hex digits>`` over all four,
so two releases that differ in anything have different ids, and a host that has the id has the thing. A site file
may give an id of its own instead: then a host that has it with other content refuses it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsdeploy import paths, runtimes
from dsdeploy.runtimes import wheels
from dsdeploy.runtimes.launch import Launch
from dsdeploy.site import Site

_MAIN_PACKAGE = {"llamacpp": "xllamacpp", "vllm": "vllm", "sglang": "sglang", "triton": "tokenizers"}
_BUILDERS = {"vllm": "supervise/warm.py", "sglang": "supervise/warm.py", "triton": "triton/server/plan.py"}


@dataclass(frozen=True)
class Release:
    """All that the engine role has to be told: ids, and the settings the server reads."""

    id: str
    weights_digest: str
    build_key: str
    settings: Mapping[str, Any]


def decide(site: Site, weights_digest: str, arch: str = "x86_64") -> Release:
    """The release the site file asks for, given the digest (``sha256:…``) of the verified weights.

    `arch` is what the build is for: runtimes.hardware.describe.
    """
    chosen = settings(site, arch)
    build = chosen["build"]
    key = build_key(weights_digest, build["builder_version"], build["precision"], build["hardware"], build["flags"])
    parts = {
        "model": site.model.name, "version": site.model.version, "weights_digest": weights_digest,
        "build_key": key, "settings_digest": settings_digest(chosen),
    }  # fmt: skip
    derived = release_id(site.model.version, _digest(parts))
    return Release(site.rollout.release or derived, weights_digest, key, chosen)


def settings(site: Site, arch: str = "x86_64") -> dict[str, Any]:
    """What the server reads as engine.json. Addresses and ports are not in it: they belong to the colour."""
    engine = site.engine
    made = runtimes.launch(site)
    return {
        "schema": 1,
        "runtime": engine.runtime,
        "runtime_version": _version(site),
        "model": site.model.name,
        "context_tokens": engine.context_tokens,
        "memory_fraction": engine.memory_fraction,
        "devices": engine.devices if engine.devices == "all" else list(engine.devices),
        "tensor_parallel": engine.tensor_parallel,
        "batching": {
            "max_batch_size": engine.batching.max_batch_size,
            "preferred_batch_size": list(engine.batching.preferred_batch_size),
            "timeout_micros": engine.batching.timeout_micros,
        },
        "build": {
            "builder_version": builder_version(engine.runtime),
            "precision": engine.precision,
            # a GGUF file holds no machine code: the same on every machine of an architecture
            "hardware": arch,
            "flags": runtimes.build_flags(site, made) if made else {},
        },
    } | (_more(site, made) if made else {})


def _more(site: Site, made: Launch) -> dict[str, Any]:
    """What only runtimes that are started by flags have; llamacpp's settings stay what they were."""
    engine = site.engine
    return {
        "launch": made.plain(),
        "image": engine.image or "",
        "nodes": engine.nodes,
        "pipeline_parallel": engine.pipeline_parallel,
    }


def _version(site: Site) -> str:
    """Of the runtime's packages; of its image, where it is one."""
    engine = site.engine
    image = "image-" + engine.image.rpartition(":")[2][:12] if engine.image else ""
    if image:  # in front of Triton packages stand too
        return f"{runtime_version('triton')}-{image}" if engine.runtime == "triton" else image
    return runtime_version(engine.runtime, wheels.pins(site) if wheels.needed(site) else None)


def settings_digest(chosen: Mapping[str, Any]) -> str:
    """``sha256:…`` of the settings' canonical JSON; the release module on the host computes the same."""
    return "sha256:" + _digest(chosen)


def build_key(weights_digest: str, builder: str, precision: str, hardware: str, flags: Mapping[str, Any]) -> str:
    """16 hex digits that name a build."""
    parts = {
        "weights": weights_digest, "builder": builder, "precision": precision, "hardware": hardware,
        "flags": dict(flags),
    }  # fmt: skip
    return _digest(parts)[:16]


def release_id(version: str, digest: str) -> str:
    """E.g. ``v1-3f9a2c1b77d0``."""
    return f"{version}-{digest.removeprefix('sha256:')[:12]}"


def requirements(runtime: str) -> Path:
    """The file with the runtime's pins."""
    return paths.ROLES / "engine" / "files" / runtime / "requirements.txt"


def runtime_version(runtime: str, given: Mapping[str, str] | None = None) -> str:
    """Version of the serving package and 8 hex digits over all pins: ``2026.10.11549-1c2d3e4f``."""
    pins = given or pinned(requirements(runtime))
    every = "\n".join(f"{name}=={version}" for name, version in sorted(pins.items()))
    return f"{pins[_MAIN_PACKAGE[runtime]]}-{hashlib.sha256(every.encode()).hexdigest()[:8]}"


def builder_version(runtime: str) -> str:
    """The program that makes the build and the library it writes with, e.g. ``gguf_build-1+gguf-0.19.0``."""
    if runtime in _BUILDERS:
        text = (paths.ROLES / "engine" / "files" / _BUILDERS[runtime]).read_text(encoding="utf-8")
        return "-".join(re.findall(r'^(?:BUILDER|VERSION) = "([^"]+)"', text, re.MULTILINE))
    text = (requirements(runtime).parent / "gguf_build" / "__init__.py").read_text(encoding="utf-8")
    words = dict(re.findall(r'^(BUILDER|VERSION) = "([^"]+)"', text, re.MULTILINE))
    return f"{words['BUILDER']}-{words['VERSION']}+gguf-{pinned(requirements(runtime))['gguf']}"


def pinned(file: Path) -> dict[str, str]:
    """Package -> exact version, of a requirements file that has nothing but ``name==version`` lines."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {name.strip(): version.strip() for name, version in pairs}


def _digest(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

"""How each runtime is told what the site file says: flags, environment, files, as data. Pure.

launch       what every runtime's answer is made of; the words filled in on the host
vllm sglang triton   one runtime each: site and catalogue in, flags and environment out
container    the same flags inside podman, by image digest
groups       which hosts are one engine
hardware     what a build was made for, from what the hosts said
wheels       which packages a runtime is made of

llamacpp is not among them: it is a library, and its server reads the settings itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsdeploy.runtimes import container, sglang, triton, vllm
from dsdeploy.runtimes.launch import Launch
from dsdeploy.site import Site

_MAKERS = {"vllm": vllm.launch, "sglang": sglang.launch, "triton": triton.launch}


def launch(site: Site) -> Launch | None:
    """How the site's engine is started; None for llamacpp."""
    maker = _MAKERS.get(site.engine.runtime)
    if maker is None:
        return None
    made = maker(site)
    return container.wrap(site, made) if site.engine.image else made


def build_flags(site: Site, made: Launch) -> Mapping[str, Any]:
    """What the build depends on beside weights, precision and hardware; part of its key."""
    if site.engine.runtime == "triton":
        return triton.build_flags(site)
    engine = site.engine
    devices = "" if engine.devices == "all" else ",".join(str(index) for index in engine.devices)
    fraction, nodes = engine.memory_fraction, engine.nodes
    return {"launch": made.plain(), "devices": devices, "memory_fraction": fraction, "nodes": nodes}

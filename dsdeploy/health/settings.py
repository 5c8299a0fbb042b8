"""What the role of the health timer is told. Pure, and loads nothing of the facts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dsdeploy.runtimes.groups import heads

if TYPE_CHECKING:
    from dsdeploy.site import Site


def variables(site: Site) -> dict[str, Any]:
    """What every engine host gets alike; nothing for a site that does not ask for the timer."""
    if site.health is None:
        return {}
    health, zookeeper = site.health, site.zookeeper.client_port
    return {
        "health_site": site.site,
        "health_enabled": health.enabled,
        "health_min_serving": min_serving(site),
        "health_zookeeper": [f"{_bracketed(member.address)}:{zookeeper}" for member in site.members],
        "health_gpus": health.gpus,
        "health_gpus_least": least(site),
        "health_interval_s": math.ceil(health.interval),
        "health_deadline_s": health.deadline,
        "health_strikes": health.strikes,
        "health_window_s": health.window,
        "health_stall_s": health.stall,
        "health_start_timeout_s": math.ceil(site.engine.start_timeout),
    }


def peers(site: Site, name: str) -> dict[str, Any]:
    """The other hosts that answer requests, as an engine host is told."""
    if site.health is None:
        return {}
    ports = [site.engine.ports.blue, site.engine.ports.green]
    others = [other for other in heads(site) if other != name]
    return {"health_peers": [{"host": one, "address": site.hosts[one].address, "ports": ports} for one in others]}


def min_serving(site: Site) -> int:
    """As the site file says, else all engines but one."""
    said = site.health.min_serving if site.health else None
    return len(heads(site)) - 1 if said is None else said


def least(site: Site) -> int:
    """GPUs every engine host has at least, where the site file does not say how many: those its engines are given by
    number, else one. 0 for a stack that needs none."""
    if site.stack == "cpu":
        return 0
    return 1 if isinstance(site.engine.devices, str) else max(site.engine.devices, default=0) + 1


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address

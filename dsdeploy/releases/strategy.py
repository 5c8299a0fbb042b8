"""How a release replaces another: side by side where memory allows, else host by host; and why. Pure.

`side-by-side` runs both releases on a host for a while, so memory must hold two. `in-turn` gives up one
host at a time, so there must be another to answer. With neither, requests fail for as long as the new
release takes to start: that is done only when the operator allowed the downtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsdeploy.errors import Problem
from dsdeploy.facts import Engines, Footprint, Gpus, Memory, Weights
from dsdeploy.hosts import Reading
from dsdeploy.output import size
from dsdeploy.releases.view import View
from dsdeploy.site import Site

BATCHES = 4  # after the canary, at most so many: a fleet of 40 goes 1, 10, 10, 10, 9


@dataclass(frozen=True)
class Strategy:
    """`batches` has the canary first. `capacity` is, for each batch, how many hosts take requests meanwhile.

    `bytes_to_move` is what one host still has to pull, None when nothing tells it yet.
    """

    name: str
    why: str
    batches: tuple[tuple[str, ...], ...]
    canary: int
    capacity: tuple[int, ...]
    downtime: bool
    bytes_to_move: int | None
    problems: tuple[Problem, ...]


def choose(
    site: Site, readings: Mapping[str, Reading], view: View, release: str, allow_downtime: bool = False
) -> Strategy:
    """The strategy for the hosts that do not serve this release yet ("" when its id is not known yet)."""
    pending = view.pending(release) if release else tuple(view.hosts)
    tight = {host: why for host in pending if (why := short(site, readings.get(host), view, host, release))}
    wanted = site.rollout.strategy
    problems: list[Problem] = []
    if wanted == "auto":
        name = "in-turn" if tight else "side-by-side"
        why = next(iter(tight.values())) if tight else "every host has memory for two releases"
    else:
        name, why = wanted, f"the site file says {wanted}"
        if wanted == "side-by-side":
            problems += [
                Problem(f"strategy side-by-side: {what}", f"host {host}", "rollout.strategy: in-turn, or auto")
                for host, what in tight.items()
            ]
    downtime = name == "in-turn" and len(view.hosts) == 1
    if downtime and not allow_downtime:
        problems.append(
            Problem(
                f"{next(iter(view.hosts))} is the only engine host and cannot hold two releases: requests would fail "
                f"until the new one answers ({why})",
                f"site {site.site}",
                "dsdeploy upgrade SITE --allow-downtime, when nobody waits for answers; or add a second engine host",
            )
        )
    batches = split(pending, site.rollout.canary, 1 if name == "in-turn" else None)
    total = len(view.hosts)
    capacity = tuple(total - len(batch) if name == "in-turn" else total for batch in batches)
    return Strategy(
        name,
        why,
        batches,
        min(site.rollout.canary, len(pending)),
        capacity,
        downtime,
        _to_move(site, readings),
        tuple(problems),
    )


def split(hosts: Sequence[str], canary: int, most: int | None = None) -> tuple[tuple[str, ...], ...]:
    """Canary hosts first, the rest in at most BATCHES batches, or in batches of `most`."""
    first, rest = tuple(hosts[:canary]), tuple(hosts[canary:])
    each = most or max(1, -(-len(rest) // BATCHES))
    parts = [rest[start : start + each] for start in range(0, len(rest), each)]
    if most:
        return tuple((host,) for host in (*first, *rest))
    return tuple(part for part in (first, *parts) if part)


def short(site: Site, reading: Reading | None, view: View, host: str, release: str) -> str:
    """Why this host cannot hold the new release beside the old; "" when it can, with the arithmetic."""
    if reading is None:
        return f"{host} was not read"
    if any(place.runs and place.release == release for place in view.hosts[host].places.values()):
        return ""  # both run there already
    footprint = reading.get(Footprint) or Footprint()
    need = max(footprint.values(), default=0)
    if not need:
        return "" if not _runs(reading) else f"the memory of the engine on {host} is not known"
    gpus = _used_gpus(site, reading.get(Gpus) or Gpus())
    if gpus:
        need = max(gpu.used for gpu in gpus)
        free = min(int(gpu.memory * site.engine.memory_fraction) - gpu.used for gpu in gpus)
        what = "a GPU"
    else:
        memory = reading.get(Memory)
        if memory is None:
            return f"the memory of {host} is not known"
        free, what = int(memory.available * site.engine.memory_fraction), "memory"
    if need <= free:
        return ""
    return f"{host} has {size(max(free, 0))} of {what} left for a second engine, the first takes {size(need)}"


def _runs(reading: Reading) -> bool:
    return any(state.unit == "active" for state in (reading.get(Engines) or Engines()).values())


def _used_gpus(site: Site, gpus: Gpus) -> Gpus:
    if site.stack == "cpu":
        return Gpus()
    wanted = site.engine.devices
    return gpus if wanted == "all" else Gpus(gpu for gpu in gpus if gpu.index in wanted)


def _to_move(site: Site, readings: Mapping[str, Reading]) -> int | None:
    """What the host that lacks most has to pull; the other version's size stands in for an unknown one."""
    name = f"{site.model.name}/{site.model.version}"
    most: int | None = 0
    for host in site.with_role("engine"):
        weights = (readings[host].get(Weights) if host in readings else None) or Weights()
        stamp = weights.get(name)
        if stamp and stamp.verified:
            continue
        others = [
            other.bytes for key, other in weights.items() if key.startswith(f"{site.model.name}/") and other.bytes
        ]
        if not others:
            return None
        most = max(most or 0, max(others) - ((stamp.partial or 0) if stamp else 0))
    return most

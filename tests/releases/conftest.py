"""Readings of a site as the rollout sees it: which colour holds what, and where each router sends requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from dsdeploy.facts import Engines, EngineState, Footprint, Memory, Rotation, RotationServer
from dsdeploy.hosts import Reading
from dsdeploy.site import Site

OLD, NEW = "v1-000000000000", "v2-111111111111"
GIB = 2**30

Places = Mapping[str, Mapping[str, str]]  # host -> colour -> release, with "!" in front where it does not run


def engine(colour: str, word: str) -> EngineState:
    release = word.lstrip("!")
    runs = not word.startswith("!")
    return EngineState(
        colour, release, release if runs else None, "active" if runs else "inactive", 8101, "ok" if runs else "down"
    )


def rotation(active: Mapping[str, str], places: Places) -> Rotation:
    servers = tuple(
        RotationServer(f"{host}-{colour}", host, colour, "ready" if active.get(host) == colour else "maint", True, 0,
                       word.lstrip("!"))
        for host, colours in places.items() for colour, word in colours.items()
    )  # fmt: skip
    return Rotation(True, servers, dict(active), persisted=True, config_runs=True)


def reading(host: str, *values: object) -> Reading:
    return Reading(host, True, values={type(value): value for value in values})


@pytest.fixture
def world(lab_site: Site) -> Callable[..., dict[str, Reading]]:
    """world(places, {"gw1": {"gpu1": "blue"}}) -> readings of every host of the lab's site."""

    def make(places: Places, routers: Mapping[str, Mapping[str, str]], available: int = 8 * GIB) -> dict[str, Reading]:
        readings = {name: reading(name) for name in lab_site.hosts}
        for host, colours in places.items():
            engines = Engines({colour: engine(colour, word) for colour, word in colours.items()})
            used = Footprint({c: GIB for c, word in colours.items() if not word.startswith("!")})
            readings[host] = reading(host, engines, used, Memory(16 * GIB, available, 0))
        for router, active in routers.items():
            readings[router] = reading(router, rotation(active, places))
        return readings

    return make

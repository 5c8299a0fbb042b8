"""Which release is where, and which takes requests. Pure: readings in, View out.

What the routers do counts, not what was ordered: after a crash this is all there is to go by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsdeploy.errors import DsdeployError
from dsdeploy.facts import Engines, Rotation
from dsdeploy.hosts import Reading
from dsdeploy.runtimes.groups import heads
from dsdeploy.site import Colour, Site

COLOURS: tuple[Colour, Colour] = ("blue", "green")
OTHER: Mapping[Colour, Colour] = {"blue": "green", "green": "blue"}
_RUNS = ("active", "activating", "reloading", "deactivating")


@dataclass(frozen=True)
class Place:
    """One colour of a host: the release it is set to; whether its unit runs, and answers as that release."""

    release: str = ""
    runs: bool = False
    ready: bool = False


@dataclass(frozen=True)
class HostView:
    """`active` is, for each router that runs, the colour it sends this host's requests to, or None."""

    name: str
    places: Mapping[Colour, Place]
    active: Mapping[str, Colour | None]

    @property
    def releases(self) -> set[str]:
        """What takes requests on this host; empty when it is out of rotation."""
        return {self.places[colour].release for colour in self.active.values() if colour}

    def serves(self, release: str) -> bool:
        """Whether every router sends this host's requests to this release, and to nothing else."""
        return bool(self.active) and None not in self.active.values() and self.releases == {release}

    def place(self, release: str) -> Colour:
        """The colour this release has or gets: where it is, else where nothing takes requests.

        Raises DsdeployError when routers disagree, so that both colours take requests.
        """
        for colour in COLOURS:
            if self.places[colour].release == release:
                return colour
        idle = [colour for colour in COLOURS if colour not in self.active.values()]
        if not idle:
            raise DsdeployError(
                f"both colours of {self.name} take requests, and neither is {release}",
                f"host {self.name}",
                "dsdeploy status SITE; dsdeploy abort SITE",
            )
        return min(idle, key=lambda colour: self.places[colour].runs)


@dataclass(frozen=True)
class View:
    """`routers` are those that run; `silent` those that do not, or could not be asked."""

    hosts: Mapping[str, HostView]
    routers: tuple[str, ...]
    silent: tuple[str, ...]

    @property
    def releases(self) -> set[str]:
        """Every release that takes requests somewhere."""
        return {release for host in self.hosts.values() for release in host.releases if release}

    @property
    def serving(self) -> str:
        """The one release that takes requests; "" when there is none, or more than one."""
        return next(iter(self.releases)) if len(self.releases) == 1 else ""

    def pending(self, release: str) -> tuple[str, ...]:
        """Hosts that do not serve this release on every router yet, and that the routers know."""
        return tuple(name for name, host in self.hosts.items() if not host.serves(release))

    def needs(self, release: str) -> bool:
        """Whether requests go to another release now: then they must be moved, not just started."""
        return bool(self.routers) and bool(self.releases - {release})


def view(site: Site, readings: Mapping[str, Reading]) -> View:
    """From Engines of the engine hosts and Rotation of the routers; one that was not read is silent."""
    rotations = {
        name: rotation
        for name in site.with_role("router")
        if name in readings and (rotation := readings[name].get(Rotation)) and rotation.running
    }
    silent = tuple(name for name in site.with_role("router") if name not in rotations)
    hosts = {name: _host(name, readings.get(name), rotations) for name in heads(site)}
    return View(hosts, tuple(rotations), silent)


def _host(name: str, reading: Reading | None, rotations: Mapping[str, Rotation]) -> HostView:
    engines = (reading.get(Engines) if reading else None) or Engines()
    places: dict[Colour, Place] = {}
    for colour in COLOURS:
        state = engines.get(colour)
        if state is None:
            places[colour] = Place()
            continue
        release = state.release or ""
        ready = state.health == "ok" and state.running in (None, release) and bool(release)
        places[colour] = Place(release, state.unit in _RUNS, ready)
    active: dict[str, Colour | None] = {}
    for router, rotation in rotations.items():
        found = rotation.active.get(name)
        active[router] = found if found in COLOURS else None
    return HostView(name, places, active)

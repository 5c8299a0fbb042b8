"""What a stack leaves to do on each engine host, and in which groups hosts may be restarted. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsdeploy.facts import DriverModule, Engines, StackState
from dsdeploy.stacks import fleet, versions

if TYPE_CHECKING:
    from dsdeploy.hosts import Reading
    from dsdeploy.site import Site


@dataclass(frozen=True)
class Work:
    """`order` is what the role is told. `why` is set where packages may change; `restart` where only a restart helps:
    the engines that run, `running`, lose their driver by either, so the host is drained first. `beside` is set where
    only what lies beside the packages is another (a mirror, a key): the role is told, and engines go on."""

    order: Mapping[str, Any]
    why: str = ""
    restart: str = ""
    running: tuple[str, ...] = ()
    beside: str = ""

    @property
    def any(self) -> bool:
        return bool(self.why or self.restart or self.beside)

    @property
    def drained(self) -> bool:
        """Whether an engine has to be stopped for it."""
        return bool(self.running and (self.why or self.restart))


def work(site: Site, readings: Mapping[str, Reading]) -> dict[str, Work]:
    """Engine hosts that get a stack, with what is to do there."""
    return {
        host: _work(told, reading)
        for host, reading in readings.items()
        if (told := fleet.ordered(site, host, reading)) is not None
    }


def _work(told: Mapping[str, Any], reading: Reading) -> Work:
    state = reading.get(StackState) or StackState()
    engines = reading.get(Engines) or Engines()
    running = tuple(colour for colour, one in engines.items() if one.unit in ("active", "activating"))
    why = _why(told, state)
    other = "" if why or state.order == told["digest"] else "repositories, keys, holds or checks are other than ordered"
    return Work(told, why, restart(told, state, reading.get(DriverModule)), running, other)


def _why(told: Mapping[str, Any], state: StackState) -> str:
    if not state.order:
        return "no stack was installed by this tool"
    if state.order != told["digest"] and state.packages != told["packages_digest"]:
        return "the order is another than the last one"
    if state.library and not versions.same(state.library, str(told["driver"])):
        return f"the driver's libraries are {state.library}, {told['driver']} is ordered"
    return ""


def restart(told: Mapping[str, Any], state: StackState, module: DriverModule | None) -> str:
    """Why the host has to be restarted before its GPUs work with what is installed; "" where it need not.

    Asked again after the role was there: what is in memory is then compared with what it installed.
    """
    loaded = module.loaded if module else ""
    if loaded and state.library and not versions.same(loaded, state.library):
        return f"the module in memory is {loaded}, the libraries are {state.library}"
    if loaded and not versions.same(loaded, str(told["driver"])) and versions.same(state.library, str(told["driver"])):
        return f"the module in memory is {loaded}, {told['driver']} is ordered"
    if not loaded and state.built:
        return "nouveau holds the GPUs" if state.nouveau else "the driver is installed and not in memory"
    return ""


def proven(told: Mapping[str, Any], before: StackState, after: StackState | None, module: DriverModule | None) -> str:
    """Why a restart did not bring what it was for; "" when it did: another boot, and the ordered driver in memory."""
    if after is None or not after.boot:
        return "which boot this is could not be read"
    if after.boot == before.boot:
        return f"it is still boot {after.boot}: the host was not restarted"
    loaded = module.loaded if module else ""
    if not versions.same(loaded, str(told["driver"])):
        return f"the driver in memory is {loaded or 'none'}, {told['driver']} is ordered"
    return ""


def batches(hosts: Iterable[str], alone: Collection[str]) -> list[tuple[str, ...]]:
    """Hosts nobody needs at the moment together and first, then each of the others (members, routers) alone."""
    names = list(hosts)
    together = tuple(name for name in names if name not in alone)
    return [*([together] if together else []), *((name,) for name in names if name in alone)]

"""Can this stack run on this host? If not, the nearest combination that can, found by trying them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, combinations

from dsdeploy.stacks import place, versions
from dsdeploy.stacks.data import matrix as shipped
from dsdeploy.stacks.host import Host
from dsdeploy.stacks.rules import RULES
from dsdeploy.stacks.shapes import Distribution, Matrix, Profile
from dsdeploy.stacks.verdict import Verdict, worst

Change = Callable[[Host], Host]

NOTHING = "nothing in this matrix: no stack drives these GPUs together"


def judge(profile: Profile, host: Host, matrix: Matrix | None = None) -> tuple[Verdict, ...]:
    """Every rule's finding, in the order of the rules; each error names the nearest combination without one."""
    known = matrix or shipped()
    found = _all(known, profile, host)
    if worst(found) != "error":
        return found
    near = nearest(known, profile, host)
    return tuple(replace(one, nearest=near) if one.level == "error" else one for one in found)


def nearest(matrix: Matrix, profile: Profile, host: Host) -> str:
    """The first of the combinations, fewest changes first, in which no rule finds an error; in words."""
    for tried in _combinations(matrix, profile, host):
        if worst(_all(matrix, tried.profile, tried.host)) != "error":
            return tried.words
    return NOTHING


def _all(matrix: Matrix, profile: Profile, host: Host) -> tuple[Verdict, ...]:
    return tuple(verdict for rule in RULES for verdict in rule(matrix, profile, host))


@dataclass(frozen=True)
class _Tried:
    profile: Profile
    host: Host
    words: str


def _combinations(matrix: Matrix, profile: Profile, host: Host) -> Iterator[_Tried]:
    """The same stack with something put right, another stack, then another distribution for either."""
    yield from _mended(matrix, profile, host, "this stack on this host")
    others = _others(matrix, profile)
    for other in others:
        yield _Tried(other, host, f"stack {other.name} on this host")
        yield from _mended(matrix, other, host, f"stack {other.name} on this host")
    for one in (profile, *others):
        name = "this stack" if one is profile else f"stack {one.name}"
        for place_ in _distributions(matrix, host):
            yield from _mended(matrix, one, _moved(host, place_), f"{name} on {place_.name}", moved=True)


def _mended(matrix: Matrix, profile: Profile, host: Host, name: str, moved: bool = False) -> Iterator[_Tried]:
    """The host with one, then several of its faults put right; freshly installed if it moved."""
    if moved:
        yield _Tried(profile, host, name)
    changes = list(_changes(matrix, profile, host))
    tried = chain.from_iterable(combinations(changes, count) for count in range(1, len(changes) + 1))
    for chosen in sorted(tried, key=lambda one: any(change is _bare for change, _ in one)):  # another driver last
        better = host
        for change, _ in chosen:
            better = change(better)
        words = " and ".join(said for _, said in chosen)
        yield _Tried(profile, better, f"{name}, with {words}")


def _changes(matrix: Matrix, profile: Profile, host: Host) -> Iterator[tuple[Change, str]]:
    """What can be done about a host without replacing it, the smallest first."""
    driver = host.driver or ""
    if driver and host.loaded and not versions.same(driver, host.loaded):
        yield lambda one: replace(one, loaded=driver), "a reboot"
    if driver and host.fabric_manager and not versions.same(driver, host.fabric_manager):
        yield lambda one: replace(one, fabric_manager=driver), f"Fabric Manager {driver}"
    if host.secure_boot:
        yield lambda one: replace(one, secure_boot=False), "Secure Boot off"
    packages = place.install(matrix, profile, host)
    if host.driver is not None and packages and packages.driver:
        flavour = place.flavour(matrix, packages.driver, host)
        yield _bare, f"driver {packages.driver.version}" + (f" ({flavour} modules)" if flavour else "")


def _bare(host: Host) -> Host:
    """The host before any driver: the stack's own is installed next."""
    return replace(host, driver=None, loaded="", modules="", fabric_manager=None)


def _others(matrix: Matrix, profile: Profile) -> list[Profile]:
    """Other stacks with CUDA, the nearest version first, the newer of two equally near."""
    order = sorted((p for p in matrix.profiles.values() if p.cuda), key=lambda p: versions.parse(p.cuda))
    if profile not in order:
        return []
    at = order.index(profile)
    return sorted((p for p in order if p is not profile), key=lambda p: (abs(order.index(p) - at), -order.index(p)))


def _distributions(matrix: Matrix, host: Host) -> list[Distribution]:
    """Other distributions, those of the host's maker first, then its family, the newest first."""
    here = place.distribution(matrix, host) or place.elsewhere(matrix, host)
    family = here.family if here and here.family else next(
        (one.family for one in matrix.distributions.values() if here and set(one.ids) & set(here.ids)), "")  # fmt: skip
    found = [one for one in matrix.distributions.values() if one is not here]
    return sorted(found, key=lambda d: (host.id not in d.ids, d.family != family, -_newness(d)))


def _newness(one: Distribution) -> float:
    return float(".".join(map(str, versions.parse(one.version)[:2])))


def _moved(host: Host, to: Distribution) -> Host:
    """The same machine, freshly installed with another distribution."""
    fresh = _bare(host)
    return replace(fresh, id=to.ids[0], version=to.version, kernel=to.kernels[-1], glibc=to.glibc, python=to.python)
